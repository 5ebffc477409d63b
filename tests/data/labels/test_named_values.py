"""Label maps of Roboflow and labelme are read by the names in the file that these programs write beside them."""

import numpy as np
import pytest
from PIL import Image

from data.classes import ClassTable
from tests.data.labels.drawn import assert_in_register, read, save_photo
from tests.data.labels.test_label_maps import LABEL
from utils.errors import UserError

ROBOFLOW = "Pixel Value, Class\n0, background\n1, dress\n2, t-shirt\n"  # by the alphabet


@pytest.fixture
def export(tmp_path):
    """Writes a photo, its map beside it or in another folder, and a list of names; gives the folder of the maps."""

    def write(list_path: str, text: str, maps: str, label: np.ndarray = LABEL):
        save_photo(tmp_path / "photos/a.jpg", LABEL > 0)
        (tmp_path / maps).mkdir(exist_ok=True)
        Image.fromarray(label).save(tmp_path / maps / ("a_mask.png" if maps == "photos" else "a.png"))
        (tmp_path / list_path).write_text(text)
        return tmp_path / maps

    return write


@pytest.mark.parametrize(("list_path", "text", "maps"), [
    ("photos/_classes.csv", ROBOFLOW, "photos"),
    ("class_names.txt", "_background_\ndress\nt-shirt", "SegmentationClass"),
    ("class_names.txt", "__ignore__\n_background_\ndress\nt-shirt\n", "SegmentationClassPNG"),
])  # fmt: skip
def test_the_names_decide_and_not_the_values(list_path, text, maps, export, tmp_path):
    table = read(export(list_path, text, maps), tmp_path / "photos")
    assert np.array_equal(table.label_map(0), np.array([0, 3, 1])[LABEL])
    assert_in_register(table)


def test_roboflows_whole_download_is_read_by_the_list_in_its_folders(export, tmp_path):
    export("photos/_classes.csv", ROBOFLOW, "photos")
    assert np.array_equal(read(tmp_path, tmp_path).label_map(0), np.array([0, 3, 1])[LABEL])
    (tmp_path / "valid").mkdir()
    (tmp_path / "valid/_classes.csv").write_text(ROBOFLOW.replace("dress", "skirt"))
    with pytest.raises(UserError, match="different names"):
        read(tmp_path, tmp_path)


def test_what_labelme_ignores_is_unknown(export, tmp_path):
    label = np.where(LABEL == 2, 255, LABEL).astype(np.uint8)
    table = read(export("class_names.txt", "_background_\ndress", "SegmentationClass", label), tmp_path / "photos")
    assert np.array_equal(table.label_map(0), np.array([0, 3, 255])[LABEL])


@pytest.mark.parametrize(("text", "words"), [
    (ROBOFLOW.replace("dress", "frock"), r"masks of unknown categories: frock \(1 masks\)"),
    (ROBOFLOW.replace("2, t-shirt\n", ""), "value that is not in _classes.csv.*: 2"),
    (ROBOFLOW.replace("2,", "two,"), "not a list of the maps' values and their names.*two"),
])  # fmt: skip
def test_names_and_values_that_nobody_knows_are_refused(text, words, export, tmp_path):
    with pytest.raises(UserError, match=words):
        read(export("photos/_classes.csv", text, "photos"), tmp_path / "photos")


def test_a_class_map_may_name_the_values_by_number_or_name(export, tmp_path):
    classes = ClassTable(("gown", "tops"), ((1,), ("t-shirt",)))
    table = read(export("photos/_classes.csv", ROBOFLOW, "photos"), tmp_path / "photos", classes)
    assert np.array_equal(table.label_map(0), LABEL)
