"""Labels of every documented format are read alike, and docs/data.md shows what can be read."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.classes import CLOTHES, load_class_table
from data.labels.categories import Categories
from data.labels.read import read_labels
from tests.data.labels.drawn import HEIGHT, WIDTH, mask_of, read, save_photo, write_csv
from tests.data.labels.test_coco import coco
from tests.data.labels.test_coco_masks import counts_of
from tests.helpers import ROOT, encode_rle
from utils.errors import UserError


def example(heading: str) -> str:
    """The first code block below a heading of docs/data.md."""
    section = (ROOT / "docs/data.md").read_text().split(f"## {heading}")[1]
    return re.search(r"```\w*\n(.*?)```", section, re.DOTALL)[1]


@pytest.fixture
def photos(tmp_path) -> Path:
    (tmp_path / "photos").mkdir()
    for name in ("look1.jpg", "look2.jpg"):
        Image.new("RGB", (8, 10)).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


@pytest.mark.parametrize(("heading", "file", "box", "second"), [
    ("Table (CSV)", "labels.csv", (5, 0, 8, 2), "look2.jpg"), ("COCO (JSON)", "labels.JSON", (2, 1, 7, 5), None),
])  # fmt: skip
def test_the_documented_files_are_read(heading, file, box, second, photos, tmp_path):
    (tmp_path / file).write_text(example(heading))
    table = read(tmp_path / file, photos)
    assert [path.name for path in table.files] == ["look1.jpg", second][: len(table)]
    assert (table.skipped.count, len(table)) == ({}, 1 + bool(second))
    assert np.array_equal(table.label_map(0), mask_of(*box, (10, 8)))
    assert not second or not table.label_map(1).any()


def test_the_documented_class_map_is_read(tmp_path):
    (tmp_path / "map.yml").write_text(example("Classes"))
    table = load_class_table(str(tmp_path / "map.yml"))
    assert table.names == ("background", "shoes", "bags", "tops")
    categories = Categories.by_imaterialist(table).table
    assert [categories[number][1] for number in (23, 24, 0, 2, 10)] == [1, 2, 3, 3, 0]


def test_all_forms_of_the_same_labels_give_the_same_table(tmp_path):
    """Photos, the last without clothes, as table, COCO, label maps, and label maps of LIP with its class map."""
    rows, images, annotations, expected = [], [], [], []
    for i in range(4):
        mask = mask_of(4 + i, 5, 20 + i, 25) if i < 3 else mask_of(0, 0, 0, 0)
        save_photo(tmp_path / f"photos/{i}.jpg", mask)
        for name, label in (("maps", mask * 1), ("lip", np.where(mask, 5, 13))):  # upper-clothes on a face
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(label.astype(np.uint8)).save(tmp_path / name / f"{i}.jpg.png")
        rows.append([f"{i}.jpg", encode_rle(mask), HEIGHT, WIDTH, 0])
        images.append({"id": i, "file_name": f"{i}.jpg", "height": HEIGHT, "width": WIDTH})
        if mask.any():
            rle = {"size": [HEIGHT, WIDTH], "counts": counts_of(mask)}
            annotations.append({"image_id": i, "segmentation": rle})
        expected.append(mask)
    (tmp_path / "labels.json").write_text(json.dumps(coco(*annotations, images=images)))
    lip = load_class_table(str(ROOT / "recipes/class_maps/lip.yml"))
    files = [write_csv(tmp_path, *rows), tmp_path / "labels.json", tmp_path / "maps", tmp_path / "lip"]
    for file in files:
        table = read(file, tmp_path / "photos", lip if file.name == "lip" else CLOTHES)
        assert [path.name for path in table.files] == [f"{i}.jpg" for i in range(4)]
        assert np.array_equal([table.label_map(i) for i in range(4)], expected), file


def test_without_labels_every_photo_below_the_folder_is_background_and_broken_ones_are_told(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.jpg", "deep/a.png"):
        Image.new("RGB", (30, 40)).save(tmp_path / name)
    (tmp_path / "c.jpg").write_bytes(b"no image")
    table = read_labels(None, str(tmp_path), CLOTHES)
    assert [path.name for path in table.files] == ["b.jpg", "a.png"]
    assert [table.label_map(i).any() for i in (0, 1)] == [False, False] and table.size(0) == (40, 30)
    reason = "not an image in a format that Pillow reads"
    assert table.skipped.unreadable == {tmp_path / "c.jpg": reason}
    assert table.lines() == [f"skipped 1 photo(s): photo that cannot be read (first: photo 2, c.jpg: {reason})"]
    assert len(read_labels(None, str(tmp_path), CLOTHES, max_photos=1)) == 1
    (tmp_path / "bare").mkdir()
    with pytest.raises(UserError, match="no photo.* in"):
        read_labels(None, str(tmp_path / "bare"), CLOTHES)
    with pytest.raises(UserError, match="no folder of photos at"):
        read_labels(None, str(tmp_path / "absent"), CLOTHES)
