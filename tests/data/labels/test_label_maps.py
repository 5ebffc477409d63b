"""Folders of label maps: whose map each is, what its values mean, and what cannot be used."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.classes import CLOTHES, ClassTable, load_class_table
from data.labels.categories import Categories
from data.labels.table import LabelTable
from data.photos.folder import result_names
from data.results.formats import FORMATS, result_path
from data.results.segmentation import Segmentation
from data.training.datasets import EvaluationPhotos, close_up
from data.training.sampler import Draw
from tests.data.labels.drawn import BOX, HEIGHT, WIDTH, assert_in_register, photo_of, read, save_photo, training_photos
from tests.helpers import ROOT
from utils.errors import UserError
from utils.label_values import SOME_CLOTHES, UNKNOWN

LABEL = np.where(BOX, 1, 0).astype(np.uint8)
LABEL[30:36, 8:20] = 2


def save_map(path: Path, label: np.ndarray = LABEL) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(label.astype(np.uint8)).save(path)


def table_of(folder: Path, label: np.ndarray, classes: ClassTable = CLOTHES) -> LabelTable:
    save_photo(folder / "photos/a.jpg", label > 0)
    save_map(folder / "maps/a.png", label)
    return read(folder / "maps", folder / "photos", classes)


def test_unknown_pixels_and_classes_stay_unknown_in_training_and_evaluation(tmp_path):
    label = LABEL.copy()
    label[:4], label[4:6] = UNKNOWN, SOME_CLOTHES
    table = table_of(tmp_path, label)
    assert np.array_equal(EvaluationPhotos(table)[0][1], label)
    _, expected = close_up(photo_of(LABEL > 0), label)
    assert np.array_equal(EvaluationPhotos(table, close_ups=True)[0][1], expected) and expected.size < label.size
    sample = training_photos(table, (HEIGHT, WIDTH))[Draw(0, 0, 0)]
    assert np.array_equal(sample.label.numpy(), label)


def test_the_programs_own_results_are_label_maps(tmp_path):
    photos = ["z_05_17.jpg", "b.jpg", "b.jpeg"]  # a date is no number of people
    for name in photos:
        save_photo(tmp_path / "photos" / name, LABEL > 0)
    result = Segmentation.from_labels(LABEL, CLOTHES.names, photo_of(LABEL > 0))
    names = result_names(list(map(Path, photos)))
    for output in ("mask", "binary", "cutout"):  # masks and what lies in folders beside them
        for name in names.values():
            path = result_path(tmp_path / "results", name, output, "any")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(FORMATS[output].encode(result))
    table = read(tmp_path / "results", tmp_path / "photos")
    assert sorted(path.name for path in table.files) == sorted(photos)
    assert all(np.array_equal(table.label_map(i), LABEL) for i in range(3))
    assert "6 label maps are passed over: their photo has another" in table.lines()[0]


@pytest.mark.parametrize("maps", ["photos", "photos/maps"])
def test_maps_in_the_folder_of_the_photos_or_below_it_are_not_photos(maps, tmp_path):
    save_photo(tmp_path / "photos/a.JPG", LABEL > 0)
    save_map(tmp_path / maps / "a.png")
    table = read(tmp_path / maps, tmp_path / "photos")
    assert [path.name for path in table.files] == ["a.JPG"]
    assert_in_register(table)


@pytest.mark.parametrize(("photos", "maps"), [
    ("a.jpg b.jpg", "a_mask.png b_mask.png"), ("a.jpg", "a.labels.png"), ("a.jpg b.jpg", "mask_a.png mask_b.png"),
    ("a.jpg b.jpg", "a_gtFine_labelIds.png b_gtFine_labelIds.png"), ("a_1.jpg b_1.jpg", "a_1_x7.png b_1_x7.png"),
    ("one/a.jpg two/a.jpg", "maps/one/a_Segmentation.png maps/two/a_Segmentation.png"),
    ("a.jpg b_mask.jpg", "a_mask.png b_mask.png"), ("a.jpeg b.webp", "a.jpeg.png b.png"),
])  # fmt: skip
def test_words_that_all_maps_have_are_no_part_of_the_photos_name(photos, maps, tmp_path):
    for photo, path in zip(photos.split(), maps.split(), strict=True):
        save_photo(tmp_path / "photos" / photo, LABEL > 0)
        save_map(tmp_path / "maps" / path)
    table = read(tmp_path / "maps", tmp_path / "photos")
    assert [path.relative_to(tmp_path / "photos").as_posix() for path in table.files] == photos.split()
    assert table.lines() == []
    assert_in_register(table)


def test_photos_may_lie_among_the_maps_as_png_where_maps_have_an_ending(tmp_path):
    for name in "ab":
        save_photo(tmp_path / f"{name}.png", LABEL > 0)
        save_map(tmp_path / f"{name}_mask.png")
    assert [path.name for path in read(tmp_path, tmp_path).files] == ["a.png", "b.png"]


def test_maps_that_cannot_be_used_are_counted(tmp_path):
    for name in "abcde":
        save_photo(tmp_path / f"photos/{name}.jpg")
    maps = tmp_path / "maps"
    save_map(maps / "a.png", np.zeros_like(LABEL))
    save_map(maps / "b.png", LABEL[:20])
    Image.new("RGB", (WIDTH, HEIGHT), (9, 8, 7)).save(maps / "c.png")
    (maps / "d.png").write_text("no image")
    (tmp_path / "elsewhere").mkdir()
    save_map(tmp_path / "elsewhere/gone.PNG")
    (maps / "linked").symlink_to(tmp_path / "elsewhere")
    save_map(maps / ".hidden.png")
    table = read(maps, tmp_path / "photos")
    assert [path.name for path in table.files] == ["a.jpg"]
    assert table.skipped.first == {
        "label map of another shape than its photo": "label map 2, b.png: the label map has 30x20, the photo has 30x40",
        "label map with a colour that stands for no class": "label map 3, c.png: (9, 8, 7) at x 0, y 0",
        "label map that is not a PNG": "label map 4, d.png",
        "missing photo": "label map 5, linked/gone.PNG",
    }


@pytest.mark.parametrize(("maps", "notes"), [
    ("maps", ["1 pictures beside label maps are not read: they are not PNG files (first: x/b.jpg)"]), ("photos", []),
])  # fmt: skip
def test_maps_of_other_formats_are_counted_and_photos_beside_maps_are_not(maps, notes, tmp_path):
    for name in ("photos/x/a.jpg", "photos/x/b.jpg", "maps/x/b.jpg", "maps/no maps/c.jpg"):
        save_photo(tmp_path / name, LABEL > 0)
    Image.fromarray(LABEL).save(tmp_path / maps / "x/a.png")
    assert read(tmp_path / maps, tmp_path / "photos").lines() == notes


@pytest.mark.parametrize(("classes", "label", "words"), [
    (CLOTHES, LABEL * 7, "a.png has the value 7, but there are 4 classes, 0 to 3: .* give a class map"),
    (CLOTHES, LABEL.clip(0, 1) * 255, "hold only 0 and 255, and 255 stands for unknown"),
    (ClassTable(("shoes", "bags"), ((23,), (24,))), LABEL, "only the values 1, 2; if there shoes, bags are 1 to 2"),
    (ClassTable(("tops", "x"), ((5,), (6,)), (1, 2)), LABEL, "only the values 1, 2; if there tops, x are 1 to 2"),
    (ClassTable(("shoes", "bags"), ((23,), (24,))), LABEL * 5, r"no mask of .* there are 5 \(1 masks\), 10"),
])  # fmt: skip
def test_values_that_are_not_classes_are_refused(classes, label, words, tmp_path):
    with pytest.raises(UserError, match=words):
        table_of(tmp_path, label, classes)
    with pytest.raises(UserError, match="there are no label maps"):
        read(tmp_path / "photos", tmp_path / "photos")


def test_the_numbers_of_a_class_map_are_values(tmp_path):
    label = LABEL * 10  # 10 and 20
    label[0, :4] = 7, 7, 9, UNKNOWN
    classes = ClassTable(("skirts", "tops"), ((20, 300), (10, 9)), (7,))
    table = table_of(tmp_path, label, classes)
    expected = np.select([label == 20, (label == 10) | (label == 9), label == UNKNOWN], [1, 2, UNKNOWN])
    assert np.array_equal(table.label_map(0), expected)
    assert table.lines() == ["skirts: 20, 300", "tops: 9, 10"]
    label[1, 0] = 11
    said = table_of(tmp_path, label, classes).lines()
    assert said[2:] == ["background, as the class map does not name them: 11 (1 masks)"]
    of_255 = ClassTable(("garment",), ((UNKNOWN,),))
    assert np.array_equal(table_of(tmp_path, LABEL.clip(0, 1) * 255, of_255).label_map(0), LABEL.clip(0, 1))
    in_order = ClassTable(("skirts", "tops"), (("skirt",), ("top", "x")))  # names say nothing of values
    assert np.array_equal(table_of(tmp_path, LABEL, in_order).label_map(0), LABEL)


LIP = """hat hair glove sunglasses upper-clothes dress coat socks pants jumpsuits scarf skirt face left-arm right-arm
    left-leg right-leg left-shoe right-shoe"""
MHP_V1 = """hat hair sunglasses upper-clothes skirt pants dress belt left-shoe right-shoe face left-leg right-leg
    left-arm right-arm bag scarf torso-skin"""
MHP = """cap/hat helmet face hair left-arm right-arm left-hand right-hand protector bikini/bra
    jacket/windbreaker/hoodie t-shirt polo-shirt sweater singlet torso-skin pants shorts/swim-shorts skirt stockings
    socks left-boot right-boot left-shoe right-shoe left-highheel right-highheel left-sandal right-sandal left-leg
    right-leg left-foot right-foot coat dress robe jumpsuit other-full-body-clothes headwear backpack ball bats belt
    bottle carrybag cases sunglasses eyewear glove scarf umbrella wallet/purse watch wristband tie other-accessary
    other-upper-body-clothes other-lower-body-clothes"""
PARSINGS = {
    "lip": LIP, "schp": LIP, "cihp": LIP.replace("jumpsuits", "torso-skin"), "mhp_v2": MHP, "mhp_v1": MHP_V1,
    "atr": MHP_V1.replace("torso-skin", ""),
}  # fmt: skip


@pytest.mark.parametrize("parsing", PARSINGS)
def test_maps_of_other_parsings_are_read_with_their_recipe(parsing, tmp_path):
    names = dict(enumerate(PARSINGS[parsing].split(), 1))
    label = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % (len(names) + 1)
    classes = load_class_table(str(ROOT / f"recipes/class_maps/{parsing}.yml"))
    table = table_of(tmp_path, label, classes)
    value_of = [0, *(value for _, value in Categories.by_name(CLOTHES, names, parsing).table.values())]
    assert classes.names == CLOTHES.names and max(value_of) == 3
    assert np.array_equal(table.label_map(0), np.array(value_of)[label])
    assert len(table.lines()) == 3  # the values of each class, and nothing that the recipe does not name


def test_the_people_of_one_photo_in_mhp_are_put_together(tmp_path):
    for photo in ("7", "12"):
        save_photo(tmp_path / f"photos/{photo}.jpg", LABEL > 0)
        for value in (1, 2):
            person = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            person[..., 0] = np.where(value == LABEL, value, 0)  # values in the red channel
            (tmp_path / "maps").mkdir(exist_ok=True)
            Image.fromarray(person).save(tmp_path / f"maps/{photo}_02_0{value}.png")
    table = read(tmp_path / "maps", tmp_path / "photos")
    assert [path.name for path in table.files] == ["12.jpg", "7.jpg"]
    assert all(np.array_equal(table.label_map(i), LABEL) for i in range(2))
