"""CVAT's export of segmentation masks is read by its labelmap.txt."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.classes import CLOTHES, ClassTable
from tests.data.labels.drawn import assert_in_register, read, save_photo
from tests.data.labels.test_label_maps import LABEL
from utils.errors import UserError

LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\n{0}:250,50,83::\n{1}:36,179,83::\n"
COLOURS = np.array([(0, 0, 0), (250, 50, 83), (36, 179, 83)], np.uint8)


@pytest.fixture
def export(tmp_path):
    """Writes an export of one photo, whose first label is 1 in LABEL."""

    def write(labelmap: str, picture: Image.Image) -> Path:
        save_photo(tmp_path / "photos/shots/a.jpg", LABEL > 0)
        for folder in ("SegmentationClass", "SegmentationObject"):
            (tmp_path / "export" / folder / "shots").mkdir(parents=True, exist_ok=True)
            picture.save(tmp_path / "export" / folder / "shots/a.png")
        Image.fromarray(LABEL * 60).save(tmp_path / "export/SegmentationObject/shots/a.png")
        (tmp_path / "export/labelmap.txt").write_text(labelmap)
        return tmp_path / "export"

    return write


PALETTED = Image.fromarray(LABEL)
PALETTED.putpalette(COLOURS.tobytes())
COLOURED = Image.fromarray(COLOURS[LABEL])


@pytest.mark.parametrize("picture", [COLOURED, COLOURED.convert("RGBA"), Image.fromarray(LABEL), PALETTED])
@pytest.mark.parametrize("below", ["", "SegmentationClass"])
def test_maps_are_read_in_the_colours_of_labelmap(picture, below, export, tmp_path):
    folder = export(LABELMAP.format("T-Shirt", "dress"), picture)
    table = read(folder / below, tmp_path / "photos")
    assert np.array_equal(table.label_map(0), np.array([0, 1, 3])[LABEL])
    assert table.lines() == ["background: no category", "upper: T-Shirt (2)", "lower: no category", "full: dress (3)"]
    assert_in_register(table)


def test_background_may_have_a_colour_besides_black_and_a_class_map_may_name_labels(export, tmp_path):
    labelmap = "pinafore:36,179,83::\nbackground:10,20,30::\napron: 250, 50, 83 ::\n"
    colours = np.array([(10, 20, 30), (250, 50, 83), (36, 179, 83)], np.uint8)
    classes = ClassTable(("apron", "pinafore"), (("apron",), ("pinafore",)))
    picture = colours[LABEL]
    picture[0] = 0
    table = read(export(labelmap, Image.fromarray(picture)), tmp_path / "photos", classes)
    assert np.array_equal(table.label_map(0), LABEL)


@pytest.mark.parametrize(("labelmap", "picture", "classes", "words"), [
    (LABELMAP.format("top", "frock"), COLOURED, CLOTHES, r"masks of unknown categories: frock \(1 masks\)"),
    (LABELMAP.format("top", "skirt"), COLOURED, ClassTable(("top", "x"), (("top",), ("frock",))),
     "names frock, .* not skirt"),
    ("background:0,0,0::\ntop:1,2,3::\n", COLOURED, CLOTHES, r"colour that stands for no class.*\(36, 179, 83\)"),
    (LABELMAP.format("top", "skirt"), Image.fromarray(LABEL * 2), CLOTHES, "value that is not in labelmap.txt.*: 4"),
    ("top:red::", COLOURED, CLOTHES, "is not CVAT's list of labels and colours"),
])  # fmt: skip
def test_what_labelmap_does_not_explain_is_refused(labelmap, picture, classes, words, export, tmp_path):
    with pytest.raises(UserError, match=words):
        read(export(labelmap, picture), tmp_path / "photos", classes)
