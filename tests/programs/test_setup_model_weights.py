"""setup_model_weights.py: published saliency weights with a clothes head, from a file or from the web."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gdown
import pytest
import torch

import setup_model_weights
from networks.u2net import build_network
from networks.weights.checkpoint import load_network, read_weights
from options.setup_options import SetupOptions
from options.train_options import TrainOptions
from setup_model_weights import published_weights
from tests.helpers import assert_one_line_error, run_script


def run(*arguments: object) -> None:
    setup_model_weights.main(SetupOptions.parse([str(argument) for argument in arguments]))


def test_surgery_of_the_published_onnx(saliency_onnx, tmp_path, capsys):
    run("--model", "u2netp", "--weights", saliency_onnx, "--save_dir", tmp_path)
    assert "784 tensors copied, 14 of the head" in capsys.readouterr().out
    network, info = load_network(tmp_path / "cloth_segm_u2netp_surgery.pth")
    assert info.class_names == ("background", "upper", "lower", "full")
    key = "stage6.rebnconv1.conv_s1.weight"
    assert torch.equal(network.state_dict()[key], read_weights(saliency_onnx)[0][key])


def test_surgery_for_another_class_map(published, tmp_path):
    (tmp_path / "u2netp.pth").write_bytes(published)
    (tmp_path / "map.yml").write_text("a: [0]\nb: [1]\n")
    flags = "--model", "u2netp", "--weights", tmp_path / "u2netp.pth", "--class_map", tmp_path / "map.yml"
    run(*flags, "--save_dir", tmp_path)
    assert load_network(tmp_path / "cloth_segm_u2netp_surgery.pth")[1].class_names == ("background", "a", "b")


def test_training_of_a_network_starts_from_its_own_surgery(saliency_onnx, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("--model", "u2netp", "--weights", saliency_onnx)
    start = Path(TrainOptions.parse(["--model", "u2netp"]).unet_checkpoint)
    assert not start.is_absolute() and start.is_file()


def test_without_a_network_one_line_says_what_to_do_by_hand_and_nothing_is_left(tmp_path):
    nowhere = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
    environment = nowhere | {"PATH": "", "XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    result = run_script("setup_model_weights.py", "--save_dir", tmp_path / "out", env=environment)
    assert "drive.google.com/uc?id=1ao1ovG1Qtx4b7EoskHXmi2E9rp5CHLcZ failed" in result.stdout
    assert_one_line_error(
        result, "no connection", "download https://github.com/danielgatis/rembg/releases/download/v0.0.0/u2net.onnx",
        f"save it as {tmp_path}/cache/cloth-segmentation/weights/u2net.onnx", "--weights FILE",
    )  # fmt: skip
    assert not list((tmp_path / "out").iterdir())


# Downloads, from a real HTTP server on this machine


@pytest.fixture
def serve(monkeypatch):
    """serve(body, status, promised, kind): what the server answers; promised is its Content-Length."""
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
    assert published_weights("u2netp", tmp_path / "weights") == tmp_path / "weights/u2netp.pth"
    assert (tmp_path / "weights/u2netp.pth").read_bytes() == published
    serve(b"")
    published_weights("u2netp", tmp_path / "weights")  # what is there is not fetched again


# As gdown words it: the reason stands below a heading, in lines of its own.
QUOTA = "Failed to retrieve file url:\n\n\tToo many users have viewed or downloaded this file recently.\n\tTry later."
FAULTS = {
    "web page": (lambda content: (b"<!DOCTYPE html><html>Quota exceeded</html>",), "is a web page"),
    "cut short": (lambda content: (content[:100_000], 200, len(content)), "failed"),
    "half a file": (lambda content: (content[: len(content) // 2],), "is not a checkpoint"),
    "not found": (lambda content: (b"gone", 404), "failed"),
    "quota": (gdown.exceptions.FileURLRetrievalError(QUOTA), "Too many users have viewed or downloaded this file"),
    "endless": (OSError("words " * 10_000), "words words"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_where_google_drive_fails_the_release_is_taken_and_a_line_says_why(
    fault, serve, published, saliency_onnx, tmp_path, monkeypatch, capsys
):
    answer, words = FAULTS[fault]
    if callable(answer):
        serve(*answer(published))
    else:
        monkeypatch.setattr(gdown, "download", lambda *_: (_ for _ in ()).throw(answer))
    monkeypatch.setattr(setup_model_weights, "local_weights", lambda name: {"u2netp": saliency_onnx}[name])
    run("--model", "u2netp", "--save_dir", tmp_path)
    first, *others = capsys.readouterr().out.splitlines()
    assert words in first and first.endswith("; trying the release instead") and len(first) < 1000
    assert "784 tensors copied" in others[0]
    assert [path.name for path in tmp_path.iterdir()] == ["cloth_segm_u2netp_surgery.pth"]
