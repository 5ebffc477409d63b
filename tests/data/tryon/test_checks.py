"""What infer.py says after a run about a data set for try-on."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from data.tryon.checks import ALSO_READ, findings, missing_files
from data.tryon.presets import AGNOSTIC_MASK, CLOTH_MASK, GREYED
from tests.helpers import ROOT, exif_of


def photo(path: Path, size: tuple[int, int] = (400, 600), orientation: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path, exif=exif_of(orientation))
    return path


def mask(path: Path, white: int) -> Path:
    values = np.zeros(400 * 600, np.uint8)
    values[:white] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.reshape(400, 600)).save(path)
    return path


@pytest.mark.parametrize(("file", "white", "settings", "said"), [
    (CLOTH_MASK, 122_880, {}, []), (CLOTH_MASK, 122_879, {}, ["fewer than 122,880 white pixels"]),
    (CLOTH_MASK, 0, {}, ["empty masks"]), (AGNOSTIC_MASK, 0, {}, ["empty masks"]),
    (AGNOSTIC_MASK, 5, {}, []), (CLOTH_MASK, 200_000, {"orientation": 6}, ["EXIF rotation"]),
    (CLOTH_MASK, 200_000, {"size": (400, 601)}, ["2 sizes (1 of 400x600, 1 of 400x601)"]),
    (CLOTH_MASK, 0, {"size": (9, 9), "orientation": 3}, ["EXIF", "empty", "sizes"]),
])  # fmt: skip
def test_findings(tmp_path, file, white, settings, said):
    good = (photo(tmp_path / "good.jpg"), {(file, "any"): mask(tmp_path / "m/good.png", 200_000)})
    looked_at = (photo(tmp_path / "a.jpg", **settings), {(file, "any"): mask(tmp_path / "m/a.png", white)})
    lines = findings("viton", tmp_path, [good, looked_at])
    assert len(lines) == len(said)
    for line, part in zip(lines, said, strict=True):
        assert part in line
        assert "good" not in line


@pytest.mark.parametrize(("name", "file", "said"), [
    ("a.jpg", AGNOSTIC_MASK, False), ("a.JPG", AGNOSTIC_MASK, True), ("a.png", AGNOSTIC_MASK, True),
    ("a.png", CLOTH_MASK, False), ("a b.jpg", CLOTH_MASK, True),
])  # fmt: skip
def test_names_that_loaders_cannot_use(tmp_path, name, file, said):
    path = photo(tmp_path / "with space" / name)
    lines = findings("viton", tmp_path, [(path, {(file, "any"): mask(tmp_path / "m/a.png", 200_000)})])
    assert [str(path) in line and "names" in line for line in lines] == [True] * said


def test_metadata_that_pillow_refuses_is_no_obstacle(tmp_path):
    chunk = PngInfo()
    chunk.add_text("workflow", "x" * 3_000_000, zip=True)
    Image.new("RGB", (400, 600)).save(tmp_path / "a.png", pnginfo=chunk)
    (line,) = findings("viton", tmp_path, [(tmp_path / "a.png", {(CLOTH_MASK, "any"): mask(tmp_path / "m/a.png", 0)})])
    assert "empty masks" in line


def test_what_is_no_finding(tmp_path):
    photos = [  # written at one size: that counts
        (photo(tmp_path / f"{name}.jpg", size, 6), {("cloth/{name}", "any"): photo(tmp_path / f"out/cloth/{name}.jpg")})
        for name, size in (("a", (9, 9)), ("b", (7, 7)))
    ]
    assert findings("viton", tmp_path, photos) == []
    black = photo(tmp_path / "agnostic-v3.2/a.jpg")  # a greyed photo is not a mask
    assert findings("agnostic", tmp_path, [(photo(tmp_path / "a.jpg"), {(GREYED, "any"): black})]) == []
    assert findings("viton", tmp_path, [(tmp_path / "gone.jpg", {})]) == []


@pytest.mark.parametrize(("preset", "folder", "there", "said"), [
    ("viton", "test", [], ["IDM-VTON", "CatVTON"]),
    ("agnostic", "test", ["test/vitonhd_test_tagged.json"], ["CatVTON"]),
    ("viton", "test", ["test/vitonhd_test_tagged.json", "test_pairs_unpaired.txt"], []), ("viton", "train", [], []),
    ("gp-vton", "test", [], []), ("dresscode", "test", [], []),
])  # fmt: skip
def test_files_that_a_data_set_lacks(tmp_path, preset, folder, there, said):
    (tmp_path / folder).mkdir()
    for name in there:
        (tmp_path / name).touch()
    lines = missing_files(preset, tmp_path / folder)
    assert [line.split(" reads ")[0] for line in lines] == said
    assert all(str(tmp_path) in line for line in lines)
    page = (ROOT / "docs/tryon.md").read_text(encoding="utf-8")
    assert all(f"`{name}`: {what}" in page for name, what in ALSO_READ.values())
