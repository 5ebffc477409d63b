"""Tests of scripts/prepare_portraits.py: on real portraits, and of its rule on a drawn one."""

import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from data.classes import CLOTHES
from data.labels.read import read_labels
from scripts.prepare_portraits import PreparePortraitsOptions, clothes_by_rule, main
from tests.helpers import shared
from utils.errors import UserError
from utils.label_values import UNKNOWN

NAMES = ("congress2024_B001318.jpg", "congress2024_M001223.jpg", "congress450_H000676.jpg")


@pytest.fixture
def portraits(tmp_path):
    """A folder of three portraits, a picture without a face, and a file that cannot be read."""
    folder = tmp_path / "portraits"
    folder.mkdir()
    for name in NAMES:
        shutil.copy(shared(f"data/portraits/photos/{name}"), folder)
    Image.new("RGB", (200, 240), "grey").save(folder / "wall.jpg")
    (folder / "broken.jpg").write_bytes(b"no photo")
    return folder


def test_real_portraits_give_tables_that_training_reads(portraits, saliency_onnx, tmp_path, capsys):
    pytest.importorskip("skimage", reason="faces are found with scikit-image")
    (tmp_path / "val.csv").write_text(f"ImageId\n{NAMES[0]}\n")
    options = PreparePortraitsOptions(
        portraits=str(portraits), output_dir=str(tmp_path / "out"), saliency=str(saliency_onnx),
        validation=str(tmp_path / "val.csv"), device="cpu", precision="fp32",
    )  # fmt: skip
    assert main(options.resolve()) == 1
    said = capsys.readouterr().out
    assert "2 photographs to train on, 1 for validation" in said
    assert "1 cannot be read" in said and "1 no face found" in said
    for table, names in (("portraits", NAMES[1:]), ("portraits_val", NAMES[:1])):
        labels = read_labels(str(tmp_path / f"out/{table}.csv"), str(portraits), CLOTHES)
        assert {path.name for path in labels.files} == set(names)
        for index, path in enumerate(labels.files):
            found = labels.label_map(index)
            checked = np.asarray(Image.open(shared(f"data/portraits/labels/{path.stem}.png")))
            known = (found != UNKNOWN) & (checked != UNKNOWN)
            assert known.mean() > 0.8 and (found == checked)[known].mean() > 0.97
            assert (found == 1).mean() > 0.1


def test_the_rule_takes_what_is_below_the_chin_and_has_not_the_skins_colours():
    pixels = np.full((100, 80, 3), (90, 110, 160), np.uint8)  # the wall
    person = np.zeros((100, 80), bool)
    person[10:60, 25:55] = person[60:, 10:70] = True
    pixels[10:60, 25:55] = (200, 150, 120) + np.random.default_rng(0).integers(-5, 6, (50, 30, 3))
    pixels[60:] = (40, 45, 60)
    pixels[60:70, 30:50] = (175, 131, 105)  # the neck, in some shadow
    rule = clothes_by_rule(pixels, person, (25, 10, 30, 45))
    assert rule[75:, 10:70].all() and rule[62, 12] and not rule[60:70, 32:48].any()
    assert not rule[:57].any() and not rule[:, :10].any()


def test_without_scikit_image_the_install_command_is_said(portraits, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    with pytest.raises(UserError, match="pip install scikit-image"):
        main(PreparePortraitsOptions(portraits=str(portraits), output_dir=str(tmp_path / "out")))
