"""Labels of every documented format go by what --df_path names, and docs/data.md shows what can be read."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.classes import CLOTHES, load_class_table
from data.labels.read import read_labels
from tests.helpers import ROOT


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


def test_the_documented_table_is_read(photos, tmp_path):
    (tmp_path / "labels.csv").write_text(example("Table (CSV)"))
    table = read_labels(str(tmp_path / "labels.csv"), str(photos), CLOTHES)
    assert [path.name for path in table.files] == ["look1.jpg", "look2.jpg"]
    assert table.lines() == []
    expected = np.zeros((10, 8), np.uint8)
    expected[5:8, 0:2] = 1
    assert np.array_equal(table.label_map(0), expected)
    assert not table.label_map(1).any()


def test_the_documented_coco_file_is_read(photos, tmp_path):
    (tmp_path / "labels.JSON").write_text(example("COCO (JSON)"))
    table = read_labels(str(tmp_path / "labels.JSON"), str(photos), CLOTHES)
    expected = np.zeros((10, 8), np.uint8)
    expected[2:7, 1:5] = 1
    assert np.array_equal(table.label_map(0), expected)


def test_a_folder_is_read_as_label_maps(photos, tmp_path):
    (tmp_path / "maps").mkdir()
    for name in ("look1.png", "look2.jpg.png"):
        Image.fromarray(np.full((10, 8), 2, np.uint8)).save(tmp_path / "maps" / name)
    table = read_labels(str(tmp_path / "maps"), str(photos), CLOTHES)
    assert [path.name for path in table.files] == ["look1.jpg", "look2.jpg"]
    assert (table.label_map(1) == 2).all()


def test_the_documented_class_map_is_read(tmp_path):
    (tmp_path / "map.yml").write_text(example("Classes"))
    table = load_class_table(str(tmp_path / "map.yml"))
    assert table.names == ("background", "shoes", "bags", "tops")
    assert [table.by_category[number] for number in (23, 24, 0, 2, 10)] == [1, 2, 3, 3, 0]
