"""Published weights by name, fetched from a real HTTP server on this machine."""

import errno
import hashlib
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pooch
import pytest

from networks.engines.onnx_cache import CachedWeights
from networks.weights import published
from networks.weights.checkpoint import read_weights
from networks.weights.published import MIRROR, PUBLISHED, Published, local_weights
from utils.cache_folder import cache_folder
from utils.errors import UserError
from utils.files import FullDiskError

CONTENT = bytes(range(256)) * 1024
FILE = "u2netp.onnx"


class Server:
    """What it answers in turn (the last one for ever), and the range of each request that it got."""

    def __init__(self):
        self.answers, self.ranges = ["whole"], []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                owner.ranges.append(self.headers.get("Range"))
                answer = owner.answers.pop(0) if len(owner.answers) > 1 else owner.answers[0]
                getattr(owner, answer.replace(" ", "_"))(self)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @staticmethod
    def send(handler, body: bytes, status: int = 200, promised: int | None = None, **headers: str) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": promised or len(body), **headers}.items():
            handler.send_header(name.replace("_", "-"), str(value))
        handler.end_headers()
        handler.wfile.write(body)

    def whole(self, handler) -> None:
        start = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
        if start >= len(CONTENT):
            self.send(handler, b"", 416)
        else:
            self.send(handler, CONTENT[start:], 206 if start else 200)

    def without_ranges(self, handler) -> None:
        self.send(handler, CONTENT)

    def cut_off(self, handler) -> None:
        start = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
        rest = CONTENT[start:]
        self.send(handler, rest[: len(rest) // 2], 206 if start else 200, promised=len(rest))

    def wrong(self, handler) -> None:
        self.send(handler, CONTENT[::-1])

    def web_page(self, handler) -> None:
        self.send(handler, b"<!doctype html><html>Log in</html>", Content_Type="text/html")

    def endless(self, handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(CONTENT)

    def gone(self, handler) -> None:
        self.send(handler, b"gone", 404)

    def redirect(self, handler) -> None:
        self.send(handler, b"", 302, Location=f"{self.address}/elsewhere/{FILE}")


@pytest.fixture
def server(monkeypatch, tmp_path):
    server = Server()
    monkeypatch.setenv(MIRROR, f"{server.address}/weights/")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.setitem(PUBLISHED, "u2netp", Published(hashlib.md5(CONTENT).hexdigest()))
    monkeypatch.setattr(pooch.core.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(published, "MAX_BYTES", 20 * len(CONTENT))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield server
    server.http.shutdown()
    server.http.server_close()


def kept() -> set[str]:
    return {path.name for path in (cache_folder() / "weights").iterdir()} - {f".{FILE}.lock"}


GOOD = {
    "at once": (["whole"], [None]),
    "after a redirect": (["redirect", "whole"], [None, None]),
    "cut off and continued": (["cut off", "cut off", "whole"], [None, "bytes=131072-", "bytes=196608-"]),
    "cut off, by a server without ranges": (["cut off", "without ranges"], [None, "bytes=131072-"]),
    "after a wrong file": (["wrong", "whole"], [None, None]),
    "after a page to log in": (["web page", "whole"], [None, None]),
}


@pytest.mark.parametrize("name", GOOD)
def test_published_weights_arrive_whole_and_are_fetched_once(name, server):
    server.answers, expected = list(GOOD[name][0]), GOOD[name][1]
    path = local_weights("u2netp")
    assert path == cache_folder() / "weights" / FILE and path.read_bytes() == CONTENT
    assert (server.ranges, kept()) == (expected, {FILE})
    assert local_weights("u2netp") == path and server.ranges == expected


def test_the_next_run_goes_on_where_one_was_interrupted(server):
    part = cache_folder() / "weights" / f".{FILE}.part"
    part.parent.mkdir(parents=True)
    for begun, ranges in ((CONTENT[:1000], ["bytes=1000-"]), (CONTENT, [f"bytes={len(CONTENT)}-"])):
        part.write_bytes(begun)
        assert local_weights("u2netp").read_bytes() == CONTENT
        assert server.ranges == ranges
        server.ranges.clear()
        (cache_folder() / "weights" / FILE).unlink()
    part.write_bytes(b"something else")
    assert local_weights("u2netp").read_bytes() == CONTENT
    assert server.ranges == ["bytes=14-", None]


BAD = {
    "cut off": ("cut off", "the connection was cut off; the next try continues"),
    "wrong": ("wrong", "its MD5 sum is wrong"),
    "web page": ("web page", "its MD5 sum is wrong"),
    "endless": ("endless", "its MD5 sum is wrong"),
    "gone": ("gone", "the server answers 404 Not Found"),
    "redirected for ever": ("redirect", "Exceeded 30 redirects"),
}


@pytest.mark.parametrize("name", BAD)
def test_weights_that_cannot_be_fetched_are_one_line_that_says_what_to_do_by_hand(name, server):
    answer, reason = BAD[name]
    server.answers = [answer]
    with pytest.raises(UserError, match=rf"cannot download the weights u2netp \({reason}") as caught:
        local_weights("u2netp")
    by_hand = f"download {server.address}/weights/{FILE} in a browser and save it as {cache_folder()}/weights/{FILE}"
    assert by_hand in str(caught.value) and "\n" not in str(caught.value)
    assert kept() <= {f".{FILE}.part"}


def test_without_a_network_a_file_put_there_by_hand_is_taken_if_it_is_the_right_one(server, monkeypatch):
    monkeypatch.setenv(MIRROR, "http://127.0.0.1:9")
    target = cache_folder() / "weights" / FILE
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match=r"cannot download the weights u2netp \(no connection to the server\)"):
        local_weights("u2netp")
    target.write_bytes(CONTENT)
    target.parent.chmod(0o555)
    assert local_weights("u2netp") == target


def test_a_full_disk_says_so_and_a_cache_that_is_a_file_too(server, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(published.shutil, "move", full)
    with pytest.raises(FullDiskError, match=f"no space left in .*weights for {FILE}"):
        local_weights("u2netp")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot write into"):
        local_weights("u2netp")


def test_two_that_ask_at_once_fetch_one_file(server):
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(local_weights, ["u2netp"] * 4))
    assert len(set(paths)) == 1 and paths[0].read_bytes() == CONTENT
    assert server.ranges == [None]


def test_a_file_of_that_name_and_every_other_path_stay_as_they_are(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("u2netp").write_bytes(b"mine")
    assert [local_weights(path) for path in ("u2netp", "weights/u2netp", "other")] == [
        Path("u2netp"), Path("weights/u2netp"), Path("other"),
    ]  # fmt: skip
    assert server.ranges == []


def test_a_name_is_taken_wherever_a_weight_file_is(server, saliency_onnx, monkeypatch):
    content = saliency_onnx.read_bytes()
    monkeypatch.setattr("tests.networks.weights.test_published.CONTENT", content)
    monkeypatch.setitem(PUBLISHED, "u2netp", Published(hashlib.md5(content).hexdigest()))
    assert len(read_weights("u2netp")[0]) == 798
    with pytest.raises(UserError, match="saliency weights"):
        _ = CachedWeights("u2netp").info


def test_the_published_class_table_is_said_to_be_off_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "CLOTH_SEG_BYTES", 5)
    (tmp_path / "u2net_cloth_seg.onnx").write_bytes(b"12345")
    (tmp_path / "other.onnx").write_bytes(b"123456")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        for read in (CachedWeights, read_weights, local_weights):
            for name in ("u2net_cloth_seg.onnx", "other.onnx"):
                with suppress(UserError):
                    read(tmp_path / name)
    assert [str(each.message) for each in said] == [published.OFF_BY_ONE]
    assert "vests lower, skirts full and capes background" in published.OFF_BY_ONE
