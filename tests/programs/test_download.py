"""Downloading published weights, from a real HTTP server on this machine."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

import setup_model_weights
from networks.checkpoint import build_network, load_network
from utils.errors import UserError


@pytest.fixture
def serve(monkeypatch):
    """serve(body, status, promised): what the server answers from now on; promised is its Content-Length."""
    answer = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(answer["status"])
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(answer["promised"] or len(answer["body"])))
            self.end_headers()
            self.wfile.write(answer["body"])

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # Only where it is fetched from is changed.
    monkeypatch.setattr(setup_model_weights, "GOOGLE_DRIVE", f"http://127.0.0.1:{server.server_port}/uc?id=")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield lambda body, status=200, promised=None: answer.update(body=body, status=status, promised=promised)
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("published") / "u2netp.pth"
    torch.save(build_network("u2netp", 1).state_dict(), path)
    return path.read_bytes()


def test_sound_weights_arrive_whole_under_their_name_alone(serve, published, tmp_path):
    serve(published)
    setup_model_weights.download("some_id", tmp_path / "weights" / "u2netp.pth")
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["u2netp.pth"]
    assert load_network(tmp_path / "weights" / "u2netp.pth")[0].outconv.out_channels == 1


@pytest.mark.parametrize("fault", ["web page", "cut short", "half a file", "not found", "empty"])
def test_anything_else_leaves_nothing_and_says_what_to_do_by_hand(serve, published, tmp_path, fault):
    answers = {
        "web page": (b"<!DOCTYPE html><html>Quota exceeded</html>",),
        "cut short": (published[:100_000], 200, len(published)),
        "half a file": (published[: len(published) // 2],),
        "not found": (b"gone", 404),
        "empty": (b"",),
    }
    serve(*answers[fault])
    with pytest.raises(UserError, match="--weights FILE") as caught:
        setup_model_weights.download("some_id", tmp_path / "u2netp.pth")
    assert "some_id" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
