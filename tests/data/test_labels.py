"""Labels of every documented format go by what --df_path names, and docs/data.md shows what can be read."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.classes import CLOTHES, load_class_table
from data.labels import read_labels
from tests.helpers import ROOT


def example(heading: str) -> str:
    """The first code block below a heading of docs/data.md."""
    section = (ROOT / "docs/data.md").read_text().split(f"## {heading}")[1]
    return re.search(r"```\w*\n(.*?)```", section, re.DOTALL)[1]


@pytest.fixture
def photos(tmp_path) -> Path:
    for name in ("look1.jpg", "plain.jpg", "b/look2.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 10)).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def test_the_documented_table_is_read(photos, tmp_path):
    (tmp_path / "labels.csv").write_text(example("Table (CSV)"))
    table = read_labels(str(tmp_path / "labels.csv"), str(photos), CLOTHES)
    assert [path.name for path in table.files] == ["look1.jpg", "plain.jpg"]
    assert table.lines() == []
    label = table.label_map(0)
    assert (np.argwhere(label == 1) == [[r, c] for r in (1, 2, 3) for c in (0, 1)]).all()
    assert set(np.unique(label)) == {0, 1, 2}
    assert not table.label_map(1).any()


def test_the_documented_coco_file_is_read(photos, tmp_path):
    (tmp_path / "labels.JSON").write_text(example("COCO (JSON)"))
    table = read_labels(str(tmp_path / "labels.JSON"), str(photos), CLOTHES)
    expected = np.zeros((10, 8), np.uint8)
    expected[1:9, 2:6] = 3
    assert np.array_equal(table.label_map(0), expected)


def test_the_documented_folder_is_read(photos, tmp_path):
    for line in example("Folder of label maps (PNG)").splitlines():
        path = tmp_path / line.split()[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((10, 8), 2, np.uint8)).save(path)
    table = read_labels(str(tmp_path / "maps"), str(photos), CLOTHES)
    assert [path.name for path in table.files] == ["look1.jpg", "look2.png"]
    assert (table.label_map(1) == 2).all()


def test_the_documented_class_map_is_read(tmp_path):
    (tmp_path / "map.yml").write_text(example("Class maps"))
    table = load_class_table(str(tmp_path / "map.yml"))
    assert table.names == ("background", "shoes", "bags")
    assert (table.by_category[23], table.by_category[24], table.by_category[0]) == (1, 2, 0)
