"""deployed_infer.py without a real server: what it sends, what it tries again, what it says of errors."""

import io
import json
import os
import re
import socket
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock, Mock

import numpy as np
import pytest
from PIL import Image

import deploy.deployed_infer as client
from deploy.reply import answer
from deploy.request import Limits
from options.deploy_options import ClientOptions
from tests.deploy.half_upper import HalfUpper
from tests.helpers import b64, encoded, encoded_photo, run_script
from utils.errors import UserError
from utils.files import FullDiskError

VERTEX = ["--project", "p", "--location", "l", "--project_number", "7", "--endpoint_id", "9"]


def options(*arguments: object) -> ClientOptions:
    return ClientOptions.parse([str(argument) for argument in arguments])


def run_client(*arguments: object) -> int:
    return client.main(options(*arguments))


def write_photo(path: Path, width: int = 40, height: int = 30, noise: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded_photo(width, height, noise=noise))
    return path


def left_half_upper(body: bytes) -> bytes:
    """What the server answers: a mask, at the size of the photograph in the request, of its left half."""
    (reply,) = answer([({"body": body}, {})], HalfUpper(), Limits(9, 9, 1, 9), 1)
    return reply.body


def test_a_large_photo_is_shrunk_to_the_limit_and_its_mask_brought_back(tmp_path):
    photo = write_photo(tmp_path / "a.png", 601, 400, noise=True)
    flags = ["--input", photo, "--output", tmp_path, *VERTEX, "--max_request_megabytes", 0.05, "--format", "labels"]
    sent = []
    content = client.segment(photo, lambda body: sent.append(body) or left_half_upper(body), options(*flags))
    mask = Image.open(io.BytesIO(content))
    assert (mask.mode, mask.size) == ("L", (601, 400))
    assert set(np.unique(mask)) == {0, 1} and 0.5 < np.mean(mask) * 2 < 1.5
    assert 20_000 < len(sent[0]) <= 50_000


def test_a_small_photo_is_sent_as_it_is_and_one_longer_than_a_jpeg_can_be_is_shrunk(tmp_path, monkeypatch):
    small, long = write_photo(tmp_path / "a.png"), write_photo(tmp_path / "b.png", 70_000, 2, noise=True)
    fits = small.stat().st_size * 4 / 3 + 200  # in base64, with the JSON around it
    assert client.encode(small, Image.open(small), fits) == small.read_bytes()
    assert client.encode(small, Image.open(small), fits - 4) != small.read_bytes()
    sent = Image.open(io.BytesIO(client.encode(long, Image.open(long), 300_000)))
    assert sent.format == "JPEG" and sent.width <= 65_500
    monkeypatch.setattr(client, "MEGAPIXELS", 0.2)
    large = write_photo(tmp_path / "c.png", 800, 600)
    sent = Image.open(io.BytesIO(client.encode(large, Image.open(large), 25e6)))
    assert 190_000 < sent.width * sent.height <= 200_000  # or the mask would be refused


def test_retryable_errors_are_tried_again_and_others_not(monkeypatch):
    pauses, busy = [], client.AnswerError("busy", True)
    monkeypatch.setattr(client.time, "sleep", pauses.append)
    assert client.send_with_retries(Mock(side_effect=[busy, busy, b"reply"]), b"") == b"reply"
    assert pauses == [1, 3]
    for answers, words in (([client.AnswerError("bad photo")], "bad photo"), ([busy] * 4, "busy")):
        with pytest.raises(client.AnswerError, match=words):
            client.send_with_retries(Mock(side_effect=answers), b"")


def test_a_reply_that_is_not_a_mask_is_one_line():
    def with_body(content: bytes) -> bytes:
        return json.dumps({"predictions": [{"body": b64(content)}]}).encode()

    damaged = bytearray(encoded_photo(noise=True))
    damaged[damaged.index(b"IDAT")] = 7
    large = encoded_photo(5000, 4001)
    bodies = map(with_body, (b"", damaged, encoded_photo()))
    for reply in (b"<html>", b"{}", b'{"predictions": [7]}', b"[" * 100_000, *bodies):
        with pytest.raises(client.AnswerError, match="not a mask"):
            client.mask_of(reply)
    with pytest.raises(client.AnswerError, match="mask of 5000x4001 pixels"):
        client.mask_of(with_body(large))
    with pytest.raises(client.AnswerError, match="broken image"):
        client.mask_of(b'{"predictions": [{"error": "broken image"}]}')


def test_where_results_go(tmp_path):
    folder = tmp_path / "photos"
    for name in ("a.png", "b.png", "sub/a.png"):
        write_photo(folder / name)
    out = tmp_path / "out"

    def targets(*inputs: Path, output: Path = out, form: str = "mask") -> list[str]:
        asked = options("--input", *inputs, "--output", output, "--format", form, *VERTEX)
        return [path.relative_to(tmp_path).as_posix() for path in client.plan(asked).values()]

    photo = folder / "a.png"
    assert targets(folder) == ["out/a.png", "out/b.png", "out/sub/a.png"]
    assert targets(photo, folder / "b.png", form="overlay") == ["out/a.jpg", "out/b.jpg"]
    assert targets(photo) == ["out/a.png"]
    assert targets(photo, output=tmp_path / "mask.png") == ["mask.png"]
    assert targets(photo, output=tmp_path / "results.v2") == ["results.v2/a.png"]
    with pytest.raises(UserError, match="written as .png"):
        targets(photo, output=tmp_path / "mask.jpg")
    assert targets(folder, output=folder / "sub") == ["photos/sub/a.png", "photos/sub/b.png"]  # results are not sent


def test_who_is_asked_decides_what_must_be_given_and_how_much_is_sent():
    given = ["--input", "a.jpg", "--output", "out"]
    for flags, megabytes in ((VERTEX, 1.5), (["--url", "http://localhost:7080"], 25)):
        assert options(*given, *flags).max_request_megabytes == megabytes
    with pytest.raises(UserError, match="--endpoint_id, --project_number missing: gcloud"):
        options(*given, "--location", "l")


@pytest.mark.parametrize("url", ["localhost:7080", "ftp://localhost", "http://localhost:port", "http://a b/"])
def test_what_is_not_a_web_address_is_told(url):
    with pytest.raises(UserError, match="is not a web address such as"):
        client.torchserve(url)


@pytest.mark.parametrize(("path", "asked"), [("", client.ROUTE), ("/", client.ROUTE), ("/v1", "/v1")])
def test_an_address_without_a_path_means_the_published_route(path, asked):
    with pytest.raises(UserError, match=f"no server answers at https://127.0.0.1:9{asked};"):
        client.torchserve(f"https://127.0.0.1:9{path}")(b"question")


def test_an_answer_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(client, "SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(client.AnswerError, match="timed out"):
        client.torchserve(f"http://127.0.0.1:{silent.getsockname()[1]}")(b"question")


def test_a_host_that_nobody_knows_ends_the_run(monkeypatch):
    monkeypatch.setattr(client.urllib.request, "getproxies", dict)
    monkeypatch.setattr(client.socket, "getaddrinfo", Mock(side_effect=socket.gaierror(socket.EAI_NONAME, "unknown")))
    with pytest.raises(UserError, match="no host is named segment.invalid; check --url"):
        client.torchserve("http://segment.invalid")(b"question")


def one_answer(answer: bytes) -> str:
    """The address of a server on this machine that gives one raw answer."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listening, listening.accept()[0] as connection:
            connection.recv(10_000)
            connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://localhost:{listening.getsockname()[1]}"


def test_a_proxy_is_asked_for_other_machines_and_not_for_this_one(monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nproxied"
    monkeypatch.setenv("http_proxy", one_answer(reply))
    assert client.torchserve("http://segment.invalid")(b"question") == b"proxied"
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert client.torchserve(one_answer(reply))(b"question") == b"proxied"


def test_this_machine_is_told_from_others():
    here = ("localhost", "a.localhost", "127.0.0.1", "127.1.2.3", "::1", "0.0.0.0")
    assert all(map(client.is_this_machine, here))
    assert not any(map(client.is_this_machine, ("example.com", "192.168.1.7", "localhost.example.com")))


@pytest.mark.parametrize("answer", [
    b"", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ncut short", b"HTTP/1.1 400 No\r\nContent-Length: 50\r\n\r\ncut",
    *(b"HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\ncut" % size for size in (b"9", b"-5")),
    b"HTTP/1.1 503 Busy\r\n\r\n",
])  # fmt: skip
def test_an_answer_that_breaks_off_or_says_busy_may_be_asked_for_again(answer):
    with pytest.raises(client.AnswerError, match="no answer from|503 Busy") as error:
        client.torchserve(one_answer(answer))(b"question")
    assert error.value.retryable


@pytest.mark.parametrize(("answer", "words"), [
    *((b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % place, "302 Found http://")
      for place in (b"http://[bad/", b"http://localhost/")),
    (b'HTTP/1.1 400 No\r\n\r\n{"message": "bad\\n%s"}' % (500 * b"."), "^bad [.]{296}$"),
    (b"HTTP/1.1 200 OK\r\n\r\n" + bytes(2000), "the reply is over 0.001 MB"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + bytes(2000), "the reply is over 0.001 MB"),
])  # fmt: skip
def test_redirects_are_not_followed_and_replies_have_a_limit(answer, words, monkeypatch):
    monkeypatch.setattr(client, "MOST_BYTES", 1000)
    with pytest.raises(client.AnswerError, match=words) as error:
        client.torchserve(one_answer(answer))(b"question")
    assert not error.value.retryable


def test_a_mask_of_another_photo_is_refused(tmp_path):
    photo = write_photo(tmp_path / "a.png")
    reply = json.dumps({"predictions": [{"body": b64(encoded(Image.new("P", (1, 1))))}]}).encode()
    with pytest.raises(client.AnswerError, match="a mask of 1x1 pixels, not of the photo"):
        client.segment(photo, lambda body: reply, options("--input", photo, "--output", tmp_path, *VERTEX))


def test_an_output_that_cannot_be_written_is_told_before_anything_is_sent(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write into .*file: Not a directory"):
        client.plan(options("--input", write_photo(tmp_path / "a.jpg"), "--output", tmp_path / "file", *VERTEX))


def test_a_console_without_the_letters_of_a_name_does_not_stop_the_client(tmp_path):
    (tmp_path / "照片 ü\n.jpg").write_bytes(b"hello")
    result = run_script(
        "deploy/deployed_infer.py", "--input", tmp_path, "--output", tmp_path / "out", "--url", "http://127.0.0.1:9",
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert result.returncode == 1 and "0 of 1 photographs segmented" in result.stdout
    (line,) = result.stderr.splitlines()
    assert re.fullmatch(r"skipped .*\\u7167\\u7247.*: not an image.*", line)


class CallError(Exception):
    """Stands in for google.api_core's base class."""

    code = 503


# The names that the client takes from google.api_core.exceptions and google.auth.exceptions.
FAULTS = SimpleNamespace(
    GoogleAPICallError=CallError,
    GoogleAuthError=type("GoogleAuthError", (Exception,), {}),
    **{name: type(name, (CallError,), {}) for name in ("NotFound", "PermissionDenied", "Unauthenticated")},
)


@pytest.fixture
def google(monkeypatch):
    """A stand-in for Google's class of clients, in modules with the names that the client uses."""
    modules, client_class = MagicMock(), Mock()
    modules.api.httpbody_pb2.HttpBody = SimpleNamespace
    modules.cloud.aiplatform_v1.PredictionServiceClient = client_class
    modules.cloud.aiplatform_v1.RawPredictRequest = SimpleNamespace
    client_class.return_value.raw_predict.side_effect = lambda request, timeout: SimpleNamespace(
        data=left_half_upper(request.http_body.data)
    )
    for name in ("google", "google.api", "google.cloud", "google.auth", "google.api_core"):
        monkeypatch.setitem(sys.modules, name, getattr(modules, name.partition(".")[2], modules))
    for name in ("google.api_core.exceptions", "google.auth.exceptions"):
        monkeypatch.setitem(sys.modules, name, FAULTS)
    monkeypatch.setattr(client.time, "sleep", lambda _: None)
    return client_class


@pytest.fixture
def arguments(tmp_path) -> list:
    """Words that ask Vertex for one photograph."""
    return ["--input", write_photo(tmp_path / "a.png"), "--output", tmp_path / "out", *VERTEX]


def test_vertex_is_asked_as_published(google, arguments, tmp_path):
    assert run_client(*arguments) == 0
    google.assert_called_once_with(client_options={"api_endpoint": "l-aiplatform.googleapis.com"})
    request = google.return_value.raw_predict.call_args.kwargs["request"]
    assert request.endpoint == "projects/7/locations/l/endpoints/9"
    assert request.http_body.content_type == "application/json"
    assert list(json.loads(request.http_body.data)["instances"][0]) == ["instance_key"]
    assert Image.open(tmp_path / "out/a.png").size == (40, 30)
    run_client(*arguments, "--api_endpoint", "9.l.prediction.vertexai.goog")
    google.assert_called_with(client_options={"api_endpoint": "9.l.prediction.vertexai.goog"})


def test_vertex_errors_say_which_command_to_run(google, arguments):
    for fault, words in (
        (FAULTS.NotFound("x"), "gcloud ai endpoints list --region=l"),
        (FAULTS.Unauthenticated("x"), "gcloud auth application-default login"),
        (FAULTS.GoogleAuthError("x"), "gcloud auth application-default login"),
        (FAULTS.PermissionDenied("x"), "roles/aiplatform.user"),
    ):
        google.return_value.raw_predict.side_effect = fault
        with pytest.raises(UserError, match=words):
            run_client(*arguments)
    google.side_effect = FAULTS.GoogleAuthError("x")
    with pytest.raises(UserError, match="no Google credentials .*gcloud auth application-default login"):
        run_client(*arguments)


def test_what_is_not_served_or_cannot_be_written_is_told_and_the_rest_is_done(google, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "photos"
    for name in ("a.png", "c.png"):
        write_photo(folder / name)
    (folder / "b.png").write_bytes(b"hello")
    (tmp_path / "out/c.png").mkdir(parents=True)
    arguments = "--input", folder, "--output", tmp_path / "out", *VERTEX
    assert run_client(*arguments) == 1
    assert (tmp_path / "out/a.png").is_file()
    said = capsys.readouterr()
    assert "b.png: not an image" in said.err and "cannot write" in said.err and "1 of 3 photographs" in said.out
    google.return_value.raw_predict.side_effect = CallError("try later")
    for code, tries in ((503, 4), (400, 1)):
        monkeypatch.setattr(CallError, "code", code)
        google.return_value.raw_predict.reset_mock()
        assert run_client(*arguments) == 1
        said = capsys.readouterr()
        assert "a.png: try later" in said.err and "replac" in said.out
        assert google.return_value.raw_predict.call_count == 2 * tries
    monkeypatch.setattr(client, "write_atomically", Mock(side_effect=FullDiskError("full")))
    with pytest.raises(FullDiskError):  # nothing more is asked for
        client.save(tmp_path / "a", b"")
