"""COCO files of any content: used where they are sound, counted or refused in one line where they are not."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data.classes import CLOTHES, ClassTable, load_class_table
from data.labels.table import LabelTable
from tests.data.labels.drawn import (
    BOX,
    HEIGHT,
    WIDTH,
    assert_in_register,
    assert_usable,
    photo_of,
    read,
    save_photo,
    save_turned,
)
from tests.data.labels.test_coco_masks import JSON, RLE, SEGMENTATION, fuzz
from utils.errors import UserError

IMAGE = {"id": 7, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}


def coco(*annotations: dict, images: list | None = None, categories: object = None) -> dict:
    """A COCO file of one photo, a.jpg; annotations are the box in category 1 of it unless they say otherwise."""
    common = {"id": 1, "image_id": 7, "category_id": 1, "iscrowd": 0, "segmentation": RLE}
    return {
        "images": [IMAGE] if images is None else images,
        "annotations": [common | annotation for annotation in annotations],
        "categories": [{"id": 1, "name": "upper"}, {"id": 2, "name": "shoe"}] if categories is None else categories,
    }


def named(*names: str, first: int = 0) -> list[dict]:
    return [{"id": number, "name": name} for number, name in enumerate(names, first)]


def read_coco(content: object, folder: Path, classes: ClassTable = CLOTHES, **options) -> LabelTable:
    """content: of the file; bytes as they are."""
    path = folder / "labels.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return read(path, folder, classes, **options)


# Images and annotations


def test_annotations_are_checked_one_by_one(folder):
    images = [IMAGE, {"id": 8, "file_name": "gone.jpg"}, {"id": 9}, "image"]
    bad = [
        {"image_id": 8}, {"image_id": 99}, {"image_id": [1]}, {"category_id": 5}, {"category_id": "x"},
        {"category_id": None}, {"segmentation": None},
    ]  # fmt: skip
    content = coco({}, *bad, images=images)
    content["annotations"].append(None)
    table = read_coco(content, folder)
    assert table.skipped.count == {
        "unknown category_id": 3, "annotation without a segmentation": 1, "missing photo": 1,
        "image without id and file_name": 2, "annotation without an image in the file": 3,
    }  # fmt: skip
    assert table.skipped.first["missing photo"] == "annotation 2, gone.jpg"
    assert table.skipped.first["unknown category_id"] == "annotation 5, a.jpg: 5"
    assert np.array_equal(table.label_map(0), BOX)


def test_images_without_annotations_have_no_clothes_and_are_counted(folder):
    for name in "bc":
        save_photo(folder / f"{name}.jpg")
    images = [IMAGE | {"id": i, "file_name": f"{name}.jpg"} for i, name in enumerate("abc")]
    bad = {"image_id": 2, "segmentation": []}  # clothes, but nobody knows where
    table = read_coco(coco({"image_id": 0}, bad, images=images), folder)
    assert [path.name for path in table.files] == ["a.jpg", "b.jpg"]
    assert not table.label_map(1).any()
    assert "1 photos have no annotations and are taken as without clothes" in table.lines()


def test_resized_and_turned_photos_fit(tmp_path):
    save_turned(tmp_path / "upright.jpg", BOX, 6)
    photo_of(BOX).resize((60, 80)).save(tmp_path / "large.jpg", quality=95)
    save_photo(tmp_path / "sizeless.jpg")
    images = [
        IMAGE | {"id": 0, "file_name": "upright.jpg"},
        {"id": 1, "file_name": r"images\large.JPG", "height": float(HEIGHT), "width": float(WIDTH)},
        {"id": 2, "file_name": "../../upload/1/sizeless.jpg"},
    ]
    table = read_coco(coco(*({"image_id": i} for i in range(3)), images=images), tmp_path)
    assert len(table) == 3
    assert_in_register(table)


@pytest.mark.parametrize(("ids", "wanted"), [
    ((1, 2), ("1", 2.0)), (("1", "2"), (1, "2 ")), ((1.0, "2.0"), ("1", 2)), (("0001", 2), (1, "02")),
    (("A-1", "b"), ("a-1", "B ")), ((1, 2), ("a.jpg", "sub/b.JPG")),  # names in place of ids
    ((1, 2), ("a", r"sub\b")), (("a.jpg", "b.jpg"), ("a", "x/b.jpg")), ((None, None), ("a.jpg", "b.jpg")),
    ((10**17 + 1, 10**17 + 2), (str(10**17 + 1), 10**17 + 2)),
])  # fmt: skip
def test_ids_are_compared_in_every_spelling(ids, wanted, folder):
    save_photo(folder / "sub/b.jpg")
    images = [IMAGE | {"id": ids[0]}, IMAGE | {"id": ids[1], "file_name": "sub/b.jpg"}]
    content = coco({"image_id": wanted[1]}, {"image_id": wanted[0], "category_id": 3}, images=images)
    content["categories"] = [{"id": "1.0", "name": "upper"}, {"id": 3.0, "name": "dress"}]
    table = read_coco(content, folder)
    assert (table.skipped.count, [path.name for path in table.files]) == ({}, ["a.jpg", "b.jpg"])
    assert np.array_equal(table.label_map(0), BOX * 3)
    assert np.array_equal(table.label_map(1), BOX)


def test_numbers_in_place_of_file_names_are_ids_only_where_no_other_ids_are(folder):
    save_photo(folder / "000139.jpg")
    images = [IMAGE | {"id": 1}, IMAGE | {"id": 2, "file_name": "000139.jpg"}]
    table = read_coco(coco({"image_id": 139}, {"image_id": "139"}, images=images[1:]), folder)
    assert np.array_equal(table.label_map(0), BOX)
    assert len(read_coco(coco({"image_id": 1}, {"image_id": 139}, images=images), folder)) == 1


@pytest.mark.parametrize("stray", [3, "c.jpg", "", None, [1], {"id": 1}, 1.5, True])
def test_where_annotations_have_no_image_a_photo_without_any_is_left_out(stray, folder):
    for name in "bc":
        save_photo(folder / f"{name}.png")
    images = [IMAGE | {"id": 0}, IMAGE | {"id": 1.5e300, "file_name": "b.png"}]
    table = read_coco(coco({"image_id": 0}, {"image_id": stray}, {"image_id": stray}, images=images), folder)
    assert [path.name for path in table.files] == ["a.jpg"]
    assert list(table.skipped.count.values()) == [1, 2]
    assert "photo without annotations, which may be among those without an image" in table.skipped.count
    with pytest.raises(UserError, match="nothing usable.*2 annotation.*annotation without an image in the file"):
        read_coco(coco({"image_id": stray}, {"image_id": stray}, images=images), folder)


def test_gzipped_files_are_read(folder):
    (folder / "labels.json.gz").write_bytes(gzip.compress(json.dumps(coco({})).encode()))
    assert np.array_equal(read(folder / "labels.json.gz", folder).label_map(0), BOX)
    (folder / "labels.json.gz").write_bytes(gzip.compress(b"{}")[:12])
    with pytest.raises(UserError, match="cannot unpack"):
        read(folder / "labels.json.gz", folder)


@pytest.mark.parametrize("sizes", [{"height": 400, "width": "300"}, {"height": 4000.0, "width": 3000}, {"width": None}])
def test_coordinates_in_percent_are_refused(sizes, folder):
    photo_of(np.zeros((400, 300), bool)).save(folder / "a.jpg")
    content = coco({"segmentation": [[20, 20, 100.4, 20, 99.5, 40]]}, {}, images=[IMAGE | sizes])
    with pytest.raises(UserError, match="no coordinate in .* is over 100: they look like percent"):
        read_coco(content, folder)
    content["annotations"].append(content["annotations"][0] | {"segmentation": [[20, 20, 299, 20, 299, 40]]})
    assert len(read_coco(content, folder).class_of_row) == 2


def test_categories_go_by_names_whatever_their_ids_and_class_maps_take_both(folder):
    def values_of(categories: list, classes: ClassTable) -> dict[str, int]:
        content = coco({"category_id": categories[0]["id"]}, categories=categories)
        return dict(read_coco(content, folder, classes).categories.values())

    names = ("shoe", "shirt, blouse", "Pants", "T-Shirt", "dress", "person")
    for first in (0, 1, 40):
        assert list(values_of(named(*names, first=first), CLOTHES).items()) == list(
            zip(names, (0, 1, 2, 1, 3, 0), strict=True)
        )
    nameless = [{"id": i} for i in (0, 6, 10, 23)]
    table = read_coco(coco({"category_id": 6}, categories=nameless), folder)
    assert np.array_equal(table.label_map(0), BOX * 2)
    assert "have no names: their ids are taken as iMaterialist's" in table.lines()[0]
    by_word = [{"id": "upper body"}, {"id": "footwear"}]
    assert np.array_equal(read_coco(coco({"category_id": "Upper-Body"}, categories=by_word), folder).label_map(0), BOX)
    (folder / "map.yml").write_text("dirndl: [dirndl dress, 12]\nshoes: [SHOE_left]\nbackground: [hat]")
    categories = [*named("Dirndl-Dress", "shoe left", "apron", first=10), *named("cap", first=3)]
    classes = load_class_table(str(folder / "map.yml"))
    assert values_of(categories, classes) == {"Dirndl-Dress": 1, "shoe left": 2, "apron": 1, "cap": 0}
    content = coco({}, {"category_id": 2}, {"category_id": 2}, categories=named("upper", "frock", "sari", first=1))
    with pytest.raises(UserError, match=r"unknown categories: frock \(2 masks\); give a class map"):
        read_coco(content, folder)


@pytest.mark.parametrize(("content", "words"), [
    *((content, "not valid JSON") for content in (b"", b"{" * 10, b"[" * 100_000, b"9" * 10_000)),
    *((content, "not a COCO file") for content in (b"[]", b'{"shapes": []}', b'{"images": {}, "annotations": []}')),
    *((coco(categories=categories), "each of its categories needs an id")
      for categories in (["upper"], [{"id": [1], "name": "upper"}], {"1": "upper"})),
    (coco(categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]), "two categories with the id 1"),
    (coco(categories=named("person", "dog")), r"\(person, dog\) makes one of the classes upper, lower"),
    (coco(images=[{"id": 1, "file_name": "none.jpg"}]), "nothing usable.*missing photo"),
    (coco(images=[IMAGE, IMAGE | {"file_name": "b.jpg"}]), "the images a.jpg and b.jpg have the same id, 7"),
])  # fmt: skip
def test_json_that_cannot_be_used_is_one_line(content, words, folder):
    with pytest.raises(UserError, match=words) as error:
        read_coco(content, folder)
    assert "\n" not in str(error.value)


ID, NAME = st.just(7) | JSON, st.just("a.jpg") | JSON
SIDES = {"height": st.just(HEIGHT) | JSON, "width": st.just(WIDTH) | JSON}
IMAGES = JSON | st.fixed_dictionaries({"id": ID, "file_name": NAME}, optional=SIDES)
ANNOTATION = {"image_id": ID, "category_id": st.integers(0, 3) | JSON}
ANNOTATIONS = JSON | st.fixed_dictionaries(ANNOTATION, optional={"segmentation": SEGMENTATION})
CATEGORIES = JSON | st.fixed_dictionaries({"id": st.integers(0, 3), "name": st.sampled_from(["dress", "", "x"])})
FILE = st.fixed_dictionaries(
    {"images": st.lists(IMAGES, max_size=3), "annotations": st.lists(ANNOTATIONS, max_size=4)},
    optional={"categories": st.lists(CATEGORIES, max_size=3) | JSON},
)


@fuzz
@given(st.one_of(JSON, FILE, st.binary(max_size=100)))
@example(b"\xff\xfe")
def test_any_file_is_used_or_refused_in_one_line(one_photo, content):
    try:
        table = read_coco(content, one_photo)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert_usable(table)
