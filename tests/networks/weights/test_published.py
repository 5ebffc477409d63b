"""Published weights by name, fetched from a real HTTP server on this machine."""

import errno
import hashlib
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

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


@pytest.fixture
def server(monkeypatch, tmp_path):
    """What it answers in turn (the last one for ever), and the range of each request that it got."""
    server = SimpleNamespace(answers=["whole"], ranges=[], taken=[])  # taken: answers that were read to their end

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            server.ranges.append(asked)
            answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
            rest, found = CONTENT[int((asked or "bytes=0-")[6:-1]) :], 206 if asked else 200
            status, body = {
                "whole": (found if rest else 416, rest), "cut off": (found, rest[: len(rest) // 2]),
                "without ranges": (200, CONTENT), "endless": (200, CONTENT * 100), "gone": (404, b"gone"),
                "web page": (200, b"<!doctype html><html>Log in</html>"), "redirect": (302, b""),
            }[answer]  # fmt: skip
            self.send_response(status)
            self.send_header("Location", f"{server.address}/elsewhere/{FILE}")
            if answer != "endless":
                self.send_header("Content-Length", str(len(rest if answer == "cut off" else body)))
            self.end_headers()
            self.wfile.write(body)
            server.taken.append(answer)

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.address = f"http://127.0.0.1:{http.server_port}"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    monkeypatch.setenv(MIRROR, f"{server.address}/weights/")
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    monkeypatch.setitem(PUBLISHED, "u2netp", Published(hashlib.md5(CONTENT).hexdigest()))
    monkeypatch.setattr(pooch.core.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(published, "MAX_BYTES", 20 * len(CONTENT))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield server
    http.shutdown()
    http.server_close()


def kept() -> set[str]:
    return {path.name for path in (cache_folder() / "weights").iterdir()} - {f".{FILE}.lock"}


GOOD = [
    (["whole"], [None]), (["redirect", "whole"], [None, None]), (["web page", "whole"], [None, None]),
    (["cut off", "cut off", "whole"], [None, "bytes=131072-", "bytes=196608-"]),
    (["cut off", "without ranges"], [None, "bytes=131072-"]),
]  # fmt: skip


@pytest.mark.parametrize(("answers", "expected"), GOOD, ids=str)
def test_published_weights_arrive_whole_and_are_fetched_once(answers, expected, server):
    server.answers = list(answers)
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


BAD = [
    ("cut off", "the connection was cut off; the next try continues"), ("web page", "its MD5 sum is wrong"),
    ("endless", "its MD5 sum is wrong"), ("gone", "the server answers 404 Not Found"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "reason"), BAD)
def test_weights_that_cannot_be_fetched_are_one_line_that_says_what_to_do_by_hand(answer, reason, server):
    server.answers = [answer]
    with pytest.raises(UserError, match=rf"cannot download the weights u2netp \({reason}") as caught:
        local_weights("u2netp")
    address, kept_as = f"{server.address}/weights/{FILE}", f"{cache_folder()}/weights/{FILE}"
    message = str(caught.value)
    assert f"download {address} in a browser, save it as {kept_as} and try again" in message and "\n" not in message
    assert kept() <= {f".{FILE}.part"} and "endless" not in server.taken


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
    full = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(published.shutil, "move", full)
    with pytest.raises(FullDiskError, match=f"no space left in .*weights for {FILE}"):
        local_weights("u2netp")
    (tmp_path / "file").touch()
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "file"))
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
    for path in ("u2netp", "weights/u2netp", "other"):
        assert local_weights(path) == Path(path) and server.ranges == []


def test_the_published_class_table_is_said_to_be_off_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "CLOTH_SEG_BYTES", 5)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        for name, content in (("u2net_cloth_seg.onnx", b"12345"), ("other.onnx", b"123456")):
            (tmp_path / name).write_bytes(content)
            for read in (CachedWeights, read_weights, local_weights):
                with suppress(UserError):
                    read(tmp_path / name)
    assert [str(each.message) for each in said] == [published.OFF_BY_ONE]
    assert "vests lower, skirts full and capes background" in published.OFF_BY_ONE
