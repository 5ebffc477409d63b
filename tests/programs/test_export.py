"""export.py: another form of a checkpoint, under its name only when photographs keep their label maps."""

import json

import pytest
import torch

import export
from networks import exporters
from networks.predictor import Predictor
from networks.weights.checkpoint import load_network, save_checkpoint
from networks.weights.info import CheckpointInfo
from options.export_options import ExportOptions
from tests.helpers import ROOT, random_photos, shared, trained_like
from utils.errors import UserError


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of three photographs, one of which is broken."""
    folder = tmp_path_factory.mktemp("photos")
    for i, photo in enumerate(random_photos((50, 70), (90, 60))):
        photo.save(folder / f"{i}.png")
    (folder / "broken.jpg").write_text("no image")
    return folder


def run(*arguments: object, photos) -> None:
    export.main(ExportOptions.parse([*map(str, arguments), "--photos", str(photos)]))


def test_another_size_drops_the_figures_that_belong_to_the_old_one(photos, tmp_path):
    info = CheckpointInfo(("background", "upper", "lower", "full"), 64, 64, metrics={"miou": 0.5})
    save_checkpoint(tmp_path / "a.pth", trained_like("u2netp", 4), info)
    flags = ["--checkpoint_path", tmp_path / "a.pth", "--output", tmp_path / "b.pth", "--fine_width", 96]
    run(*flags, photos=photos)
    exported = load_network(tmp_path / "b.pth")[1]
    assert (exported.height, exported.width, exported.metrics) == (64, 96, None)


def test_an_export_that_labels_photos_differently_is_refused(tiny_checkpoint, photos, tmp_path, monkeypatch):
    def broken(network, info, target):
        with torch.no_grad():
            network.outconv.bias[3] += 100
        save_checkpoint(target, network, info)
        with torch.no_grad():
            network.outconv.bias[3] -= 100

    monkeypatch.setitem(exporters.EXPORTERS, ".pth", broken)
    with pytest.raises(UserError, match="only .* % of the pixels of 2 photographs .* 99.8 % must"):
        run("--checkpoint_path", tiny_checkpoint, "--output", tmp_path / "out/b.pth", photos=photos)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_target_appears_only_after_the_comparison(tiny_checkpoint, photos, tmp_path, monkeypatch, capsys):
    target, there = tmp_path / "deep/b.pth", []
    original = Predictor.__call__
    monkeypatch.setattr(Predictor, "__call__", lambda *args: there.append(target.exists()) or original(*args))
    run("--checkpoint_path", tiny_checkpoint, "--output", target, photos=photos)
    assert there and not any(there)
    assert [path.name for path in target.parent.iterdir()] == [target.name]  # a checkpoint describes itself
    assert "2 photographs keep their label" in capsys.readouterr().out


def test_a_folder_without_photographs_to_compare_on_is_refused(tiny_checkpoint, tmp_path):
    (tmp_path / "broken.jpg").write_text("no image")
    with pytest.raises(UserError, match="--photos"):
        run("--checkpoint_path", tiny_checkpoint, "--output", tmp_path / "b.pth", photos=tmp_path)
    assert not (tmp_path / "b.pth").exists()


def test_the_included_weights_keep_the_label_maps_of_real_photographs(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "PHOTOS", 6)
    weights, real = ROOT / "trained_checkpoint/cloth_segm_u2netp.pth", shared("data/ccp/val")
    target = tmp_path / "a.pt"
    run("--checkpoint_path", weights, "--output", target, photos=real)
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "input": "image", "output": "logits", "class_names": ["background", "upper", "lower", "full"],
        "height": 288, "width": 288, "mean": 0.5, "std": 0.5,
    }  # fmt: skip


def test_what_is_missing_or_there_already_is_one_line(tiny_checkpoint, tmp_path):
    (tmp_path / "pytorch_model.bin").touch()
    (tmp_path / "a.json").touch()
    for output, words in (
        (tiny_checkpoint, "exists"), (tmp_path / "pytorch_model.xml", "pytorch_model.bin exists"),
        (tmp_path / "a.onnx", "a.json exists"), (tmp_path / "a.h5", "must end in .pth, .safetensors, .onnx"),
        (f"{tmp_path / 'b.pth'} --preset rembg", "--preset rembg writes an .onnx file"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=words):
            ExportOptions.parse(["--checkpoint_path", str(tiny_checkpoint), "--output", *str(output).split()])
