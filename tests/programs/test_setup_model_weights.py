"""setup_model_weights.py: published saliency weights with a clothes head, from a file or from the web."""

from pathlib import Path

import gdown
import pytest
import torch

import setup_model_weights
from networks.u2net import build_network
from networks.weights.checkpoint import load_network
from options.setup_options import SetupOptions
from options.train_options import TrainOptions
from setup_model_weights import published_weights
from tests.helpers import assert_one_line_error, run_script


def run(*arguments: object) -> None:
    setup_model_weights.main(SetupOptions.parse([str(argument) for argument in arguments]))


def test_training_of_a_network_starts_from_its_own_surgery(saliency_onnx, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("map.yml").write_text("tops: [1]\n")
    run("--model", "u2netp", "--weights", saliency_onnx, "--class_map", "map.yml")
    assert "784 tensors copied, 14 of the head" in capsys.readouterr().out
    start = Path(TrainOptions.parse(["--model", "u2netp"]).unet_checkpoint)
    assert not start.is_absolute() and start.is_file()
    assert load_network(start)[1].class_names == ("background", "tops")


def test_without_a_network_one_line_says_what_to_do_by_hand_and_nothing_is_left(tmp_path):
    nowhere = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
    environment = nowhere | {"PATH": "", "XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    result = run_script("setup_model_weights.py", "--save_dir", tmp_path / "out", env=environment)
    assert "drive.google.com/uc?id=1ao1ovG1Qtx4b7EoskHXmi2E9rp5CHLcZ failed" in result.stdout
    assert_one_line_error(
        result, "no connection", "download https://github.com/danielgatis/rembg/releases/download/v0.0.0/u2net.onnx",
        f"save it as {tmp_path}/cache/cloth-segmentation/weights/u2net.onnx and try again",
    )  # fmt: skip
    assert not list((tmp_path / "out").iterdir())


@pytest.fixture
def download(monkeypatch):
    """download(content or error): what Google Drive gives; a download that fails leaves a part of it."""

    def download(content: bytes | Exception) -> None:
        def give(url: str, target: str) -> None:
            if isinstance(content, Exception):
                Path(f"{target}.part").write_bytes(b"the beginning")
                raise content
            Path(target).write_bytes(content)

        monkeypatch.setattr(gdown, "download", give)

    return download


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("published") / "u2netp.pth"
    torch.save(build_network("u2netp", 1).state_dict(), path)
    return path.read_bytes()


def test_sound_weights_arrive_whole_under_their_name_alone_and_are_not_fetched_again(download, published, tmp_path):
    for content in (published, b""):
        download(content)
        assert published_weights("u2netp", tmp_path) == tmp_path / "u2netp.pth"
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"u2netp.pth": published}


def test_another_process_may_fetch_the_same_weights_meanwhile(published, tmp_path, monkeypatch):
    others = iter([lambda: published_weights("u2netp", tmp_path), lambda: None])

    def give(url: str, target: str) -> None:
        part = Path(f"{target}.part")
        part.write_bytes(published)
        next(others)()
        part.rename(target)

    monkeypatch.setattr(gdown, "download", give)
    assert published_weights("u2netp", tmp_path).read_bytes() == published
    assert [path.name for path in tmp_path.iterdir()] == ["u2netp.pth"]


@pytest.mark.parametrize(("fault", "words"), [
    (b"<!DOCTYPE html><html>Quota exceeded</html>", "is a web page"), (b"PK\3\4half a file", "is not a checkpoint"),
    # As gdown words it: the reason stands below a heading, in lines of its own.
    (gdown.exceptions.FileURLRetrievalError("Failed to retrieve file url:\n\n\tToo many users\n\n"), "Too many users"),
    (OSError("words " * 10_000), "words words"),
])  # fmt: skip
def test_where_google_drive_fails_the_release_is_taken_and_a_line_says_why(
    fault, words, download, saliency_onnx, tmp_path, monkeypatch, capsys
):
    download(fault)
    (tmp_path / "cloth_segm_u2netp_surgery.pth").touch()
    monkeypatch.setattr(setup_model_weights, "local_weights", lambda name: {"u2netp": saliency_onnx}[name])
    run("--model", "u2netp", "--save_dir", tmp_path)
    first, *others = capsys.readouterr().out.splitlines()
    assert words in first and first.endswith("; trying the release instead") and len(first) < 1000
    assert "replacing" in others[0] and "784 tensors copied" in others[1]
    assert [path.name for path in tmp_path.iterdir()] == ["cloth_segm_u2netp_surgery.pth"]
