"""COCO files of any content: used where they are sound, counted or refused in one line where they are not."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data.classes import CLOTHES, ClassTable
from data.labels.table import LabelTable
from tests.data.labels.drawn import BOX, HEIGHT, WIDTH, assert_usable, photo_of, read, save_photo
from tests.data.labels.test_coco_masks import JSON, RLE, SEGMENTATION
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


@pytest.mark.parametrize(
    "stated", [{}, {"height": None, "width": None}, {"height": str(HEIGHT), "width": float(WIDTH)}]
)
def test_sizes_may_be_text_or_missing(stated, folder):
    image = {"id": 7, "file_name": r"..\..\upload\1\a.JPG", **stated}
    assert np.array_equal(read_coco(coco({}, images=[image]), folder).label_map(0), BOX)


@pytest.mark.parametrize(("ids", "wanted"), [
    ((1, 2), ("1", 2.0)), (("1", "2"), (1, "2 ")), ((1.0, "2.0"), ("1", 2)), (("0001", 2), (1, "02")),
    (("A-1", "b"), ("a-1", "B ")), ((10**17 + 1, 10**17 + 2), (str(10**17 + 1), 10**17 + 2)),
    ((1, 2), ("a.jpg", "sub/b.JPG")), ((1, 2), ("a", r"sub\b")), ((None, None), ("a.jpg", "b.jpg")),  # names as ids
    (("a.jpg", "b.jpg"), ("a", "x/b.jpg")),
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


@pytest.mark.parametrize("stray", [3, "4", "c.jpg", "", None, [1], 1.5, True])
def test_where_annotations_have_no_image_a_photo_without_any_is_left_out(stray, folder):
    save_photo(folder / "4.png")
    images = [IMAGE | {"id": 0}, IMAGE | {"id": 1, "file_name": "4.png"}]
    table = read_coco(coco({"image_id": 0}, {"image_id": stray}, {"image_id": stray}, images=images), folder)
    assert [path.name for path in table.files] == ["a.jpg"]
    assert table.skipped.count == {
        "photo without annotations, which may be among those without an image": 1,
        "annotation without an image in the file": 2,
    }


def test_gzipped_files_are_read_and_no_further_than_the_limit(folder, monkeypatch):
    (folder / "labels.json.gz").write_bytes(gzip.compress(json.dumps(coco({})).encode()))
    assert np.array_equal(read(folder / "labels.json.gz", folder).label_map(0), BOX)
    (folder / "labels.json.gz").write_bytes(gzip.compress(b"{}")[:12])
    with pytest.raises(UserError, match="cannot unpack"):
        read(folder / "labels.json.gz", folder)
    monkeypatch.setattr("data.labels.coco.LARGEST_FILE", 100_000)
    monkeypatch.setattr("data.labels.coco.CHUNK", 1000)
    (folder / "labels.json.gz").write_bytes(gzip.compress(b" " * 1_000_000)[:-8])  # its end cannot be unpacked
    with pytest.raises(UserError, match="is larger than 0.0001 GB; split it"):
        read(folder / "labels.json.gz", folder)


def test_coordinates_in_percent_are_refused(folder):
    photo_of(np.zeros((400, 300), bool)).save(folder / "a.jpg")
    content = coco({"segmentation": [[20, 20, 100.4, 20, 99.5, 40]]}, {}, images=[{"id": 7, "file_name": "a.jpg"}])
    with pytest.raises(UserError, match="no coordinate in .* is over 100: they look like percent"):
        read_coco(content, folder)
    small = content | {"images": [{"id": 7, "file_name": "a.jpg", "height": 266, "width": 199}]}
    assert len(read_coco(small, folder)) == 1  # there they may be pixels
    content["annotations"].append(content["annotations"][0] | {"segmentation": [[20, 20, 299, 20, 299, 40]]})
    assert len(read_coco(content, folder).class_of_row) == 2


# Categories


@pytest.mark.parametrize("first", [0, 1, 40])
def test_categories_go_by_names_whatever_their_ids(first, folder):
    expected = {"shoe": 0, "shirt, blouse": 1, "Pants": 2, "T-Shirt": 1, "dress": 3, "person": 0}
    table = read_coco(coco({"category_id": first + 1}, categories=named(*expected, first=first)), folder)
    assert dict(table.categories.values()) == expected


def test_categories_without_names_have_iMaterialists_ids(folder):
    table = read_coco(coco({"category_id": 6}, categories=[{"id": i} for i in (0, 6, 10, 23)]), folder)
    assert np.array_equal(table.label_map(0), BOX * 2)
    assert "have no names: their ids are taken as iMaterialist's" in table.lines()[0]


def test_ids_of_categories_may_be_words_and_names_stand_for_ids(folder):
    categories = [{"id": "upper body"}, {"id": "x7", "name": "skirt"}, {"id": 5, "name": "dress"}]
    annotations = [{"category_id": each} for each in ("Upper-Body", "x7", "Dresses", "5")]
    table = read_coco(coco(*annotations, categories=categories), folder)
    assert (table.skipped.count, table.class_of_row.tolist()) == ({}, [1, 2, 3, 3])


def test_a_class_map_takes_ids_and_names(folder):
    classes = ClassTable(("dirndl", "shoes"), (("dirndl dress", 12), ("SHOE_left",)), ("hat",))
    categories = [*named("Dirndl-Dress", "shoe left", "apron", first=10), *named("cap", first=3)]
    table = read_coco(coco({"category_id": 10}, categories=categories), folder, classes)
    assert dict(table.categories.values()) == {"Dirndl-Dress": 1, "shoe left": 2, "apron": 1, "cap": 0}


def test_masks_of_an_unknown_name_are_refused_before_any_photo_is_looked_for(folder):
    content = coco({}, {"category_id": 2}, {"category_id": 2}, categories=named("upper", "frock", "sari", first=1))
    content["images"] = [{"id": 7, "file_name": "none.jpg"}]
    with pytest.raises(UserError, match=r"unknown categories: frock \(2 masks\); give a class map"):
        read_coco(content, folder)


@pytest.mark.parametrize(("content", "words"), [
    (b"", "not valid JSON"), (b"[" * 100_000, "not valid JSON"),
    (b'{"annotations": [], "images": [], "annotations": [1]}', "annotations stands twice in an object"),
    (b'{"images": [], "images": []}', "not a COCO file"),  # and the same both times (b"[]", "not a COCO file"),
    (b'{"images": {}, "annotations": []}', "not a COCO file"),
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


@given(st.one_of(JSON, FILE, st.binary(max_size=100)))
@example(b"\xff\xfe")
def test_any_file_is_used_or_refused(one_photo, content):
    try:
        table = read_coco(content, one_photo)
    except UserError:  # names in it may hold line ends, which are escaped when it is shown
        return
    assert_usable(table)
