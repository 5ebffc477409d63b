"""Tests of scripts/prepare_empty.py."""

import numpy as np
import pytest
from PIL import Image

from data.classes import CLOTHES
from data.labels.read import read_labels
from scripts.prepare_empty import PATTERNS, PrepareEmptyOptions, main
from utils.errors import UserError


def run(folder, **more) -> int:
    return main(PrepareEmptyOptions(output_dir=str(folder), side=160, **more).resolve())


def test_patterns_depend_on_the_seed_alone_and_are_read_as_photos_without_clothes(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert run(tmp_path / name, drawn=2 * len(PATTERNS), seed=seed) == 0
    a, b, c = ([path.read_bytes() for path in sorted((tmp_path / name).iterdir())] for name in "abc")
    assert a == b and len(set(a) | set(c)) == 4 * len(PATTERNS)
    table = read_labels(None, str(tmp_path / "a"), CLOTHES)
    assert len(table) == 2 * len(PATTERNS) and not len(table.class_of_row)


@pytest.mark.parametrize("draw", PATTERNS, ids=lambda draw: draw.__name__)
def test_a_pattern_fills_its_size_and_shows_more_than_one_colour(draw):
    pixels = draw((40, 90), np.random.default_rng(3))
    assert pixels.shape[:2] == (40, 90) and pixels.std((0, 1)).max() > 1


def test_pictures_are_made_small_and_taken_once(tmp_path, capsys):
    folder = tmp_path / "wallpapers"
    folder.mkdir()
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8))
    for name, size in {"large.jpg": (400, 300), "copy.png": (240, 180), "icon.png": (40, 30)}.items():
        picture.resize(size, Image.Resampling.BICUBIC).save(folder / name)
    Image.new("RGB", (300, 300), "red").save(folder / "other.png")
    (folder / "broken.jpg").write_bytes(b"no photo")
    with pytest.raises(UserError, match="there is no folder nowhere"):
        run(folder / "out", drawn=3, pictures=["nowhere"])
    assert run(folder / "out", drawn=3, pictures=[str(folder)]) == 1
    said = capsys.readouterr()
    assert "2 of 5 pictures" in said.out and "broken.jpg" in said.err
    assert {Image.open(path).size for path in (folder / "out").glob("picture_*")} == {(160, 120), (160, 160)}
