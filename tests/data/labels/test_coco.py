"""COCO files of any content: used where they are sound, counted or refused in one line where they are not."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pycocotools import mask as library

from data.classes import CLOTHES, ClassTable, load_class_table
from data.labels.coco import runs_of
from data.labels.rle import LabelError, rasterise
from data.labels.table import LabelTable
from tests.data.labels.drawn import (
    BOX,
    HEIGHT,
    WIDTH,
    assert_in_register,
    assert_usable,
    mask_of,
    photo_of,
    read,
    save_photo,
    save_turned,
)
from utils.errors import UserError

RECTANGLE = [6, 5, 20, 5, 20, 25, 6, 25]  # BOX
IMAGE = {"id": 7, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}


def counts_of(mask: np.ndarray) -> list[int]:
    """Uncompressed run-lengths."""
    flat = np.concatenate(([0], mask.T.ravel(), [0]))
    return np.diff([0, *np.flatnonzero(np.diff(flat)).tolist(), mask.size]).tolist()


RLE = {"size": [HEIGHT, WIDTH], "counts": counts_of(BOX)}


def coco(*annotations: dict, images: list | None = None, categories: object = None) -> dict:
    """A COCO file of one photo, a.jpg; annotations are the box in category 1 of it unless they say otherwise."""
    common = {"image_id": 7, "category_id": 1, "iscrowd": 0, "segmentation": RLE}
    return {
        "images": [IMAGE] if images is None else images,
        "annotations": [common | {"id": i} | annotation for i, annotation in enumerate(annotations)],
        "categories": [{"id": 1, "name": "upper"}, {"id": 2, "name": "shoe"}] if categories is None else categories,
    }


def named(*names: str, first: int = 0) -> list[dict]:
    return [{"id": number, "name": name} for number, name in enumerate(names, first)]


def read_coco(content: object, folder: Path, classes: ClassTable = CLOTHES, **options) -> LabelTable:
    """content: of the file; bytes as they are."""
    path = folder / "labels.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return read(path, folder, classes, **options)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with one photo, a.jpg."""
    return save_photo(tmp_path / "a.jpg").parent


# Segmentations


@pytest.mark.parametrize(
    "segmentation", [RLE, [RECTANGLE], RECTANGLE, [RECTANGLE, [1, 1, 2, 2]], [RECTANGLE, [7, 6, 9, 6, 9, 9]]]
)
@pytest.mark.parametrize("iscrowd", [0, 1])
def test_run_lengths_and_polygons_are_read(segmentation, iscrowd, folder):
    table = read_coco(coco({"segmentation": segmentation, "iscrowd": iscrowd}), folder)
    assert np.array_equal(table.label_map(0), BOX)
    assert_in_register(table)


def test_polygons_may_reach_over_the_rim():
    runs = runs_of([[-5, -5, 50, -5, 50, 10, -5, 10]], HEIGHT, WIDTH)
    assert np.array_equal(rasterise(runs, HEIGHT, WIDTH, (HEIGHT, WIDTH)), mask_of(0, 0, 10, WIDTH))


BAD = [
    ([[6, 5, 20, 5, float("nan"), 25]], "far outside"),  # would hang the library
    ([[6, 5, 20, 5, float("inf"), 25]], "far outside"),
    ([[6, 5, 20, 5, 1e9, 25]], "far outside"),  # would crash it
    ([[6, 5, 20, 5, 10**400, 25]], "not a list of numbers"),
    ([[6, 5, 20, 25]], "fewer than three points"),
    ([[]], "fewer than three points"),
    ([[6, 5, 20, 5, 20, 25, 6]], "odd count"),
    ([["6", "5", "20", "5", "20", "25"]], "not a list of numbers"),
    ([[[6, 5], [20, 5], [20, 25]]], "not a list of numbers"),
    ([None], "not a list of numbers"),
    ([0, 0, WIDTH, HEIGHT, 0, HEIGHT] * 20_000, "outline"),
    (None, "without a segmentation"),
    ([], "without a segmentation"),
    ({}, "without a segmentation"),
    ("mask.png", "neither polygons nor run-lengths"),
    (RLE | {"counts": RLE["counts"][:-2]}, "do not make up the image"),  # the library would read foreign memory
    (RLE | {"counts": [*RLE["counts"], 5]}, "do not make up the image"),
    (RLE | {"counts": [-5, 1205]}, "not numbers"),
    (RLE | {"counts": [1200.0]}, "not numbers"),
    (RLE | {"counts": [2**70]}, "do not make up the image"),
    (RLE | {"counts": None}, "not numbers"),
    (RLE | {"size": [WIDTH, HEIGHT]}, "another size"),
    (RLE | {"counts": "Y12"}, "do not make up the image"),
    (RLE | {"counts": ""}, "cannot be unpacked"),
    (RLE | {"counts": "Y12V1P"}, "cannot be unpacked"),
    (RLE | {"counts": "~~~~"}, "cannot be unpacked"),
    (RLE | {"counts": "ünï"}, "cannot be unpacked"),
    (RLE | {"counts": "oooooooooooooooo1"}, "cannot be unpacked"),
]


@pytest.mark.parametrize(("segmentation", "fault"), BAD)
def test_a_bad_segmentation_is_refused_by_its_kind_before_it_reaches_the_library(segmentation, fault):
    with pytest.raises(LabelError, match=fault):
        runs_of(segmentation, HEIGHT, WIDTH)


fuzz = settings(max_examples=100, deadline=None, database=None)  # a busy machine is not a fault
NUMBER = st.one_of(
    st.integers(-50, 100),
    st.floats(),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e9, -1e308, 10**400, 2**63, 2**31, 0, HEIGHT * WIDTH]),
)
RING = st.lists(st.tuples(st.integers(-9, 39), st.integers(-9, 49)), min_size=3, max_size=6).map(lambda p: sum(p, ()))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBER, st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)
COMPRESSED = st.one_of(
    st.text("0123PQRnop`_~", max_size=30),
    st.binary(max_size=9).map(lambda content: "".join(chr(48 + byte % 64) for byte in content)),
)
SEGMENTATION = st.one_of(
    JSON,
    st.lists(st.lists(NUMBER, max_size=12), max_size=3),
    st.lists(st.lists(st.floats(-60, 90), min_size=3, max_size=8).map(lambda half: half + half), max_size=3),
    st.fixed_dictionaries(
        {"size": st.sampled_from([[HEIGHT, WIDTH], [WIDTH, HEIGHT], [], 3, None])},
        optional={"counts": st.one_of(JSON, st.lists(NUMBER, max_size=8), COMPRESSED)},
    ),
)


@fuzz
@given(SEGMENTATION)
def test_any_segmentation_is_refused_or_gives_runs_within_the_image(segmentation):
    try:
        runs = runs_of(segmentation, HEIGHT, WIDTH)
    except LabelError as error:
        assert "\n" not in str(error)
        return
    assert (runs.dtype, runs.shape[1]) == (np.int32, 2)
    assert (runs[:, 0] >= 0).all() and (runs[:, 0] <= runs[:, 1]).all() and (runs[:, 1] <= HEIGHT * WIDTH).all()


@fuzz
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
@example(4000, 3000, 0)  # counts of many characters
def test_compressed_and_plain_run_lengths_of_a_mask_come_back(height, width, seed):
    rng = np.random.default_rng(seed)
    drawn = rng.random((height, width)) < rng.choice([0, 1, rng.random()])
    drawn = mask_of(100, 50, 3900, 2800, (height, width)) if height == 4000 else drawn
    packed = library.encode(np.asfortranarray(drawn.astype(np.uint8)))["counts"].decode()
    for written in (packed, counts_of(drawn)):  # the last count may be a 0, as some tools write
        runs = runs_of({"size": [height, width], "counts": written}, height, width)
        assert np.array_equal(rasterise(runs, height, width, (height, width)), drawn)


@fuzz
@given(st.lists(RING, min_size=1, max_size=3))
def test_polygons_within_reach_of_the_image_are_drawn_as_the_library_draws_them(rings):
    rings = [list(map(float, ring)) for ring in rings]
    expected = library.decode(library.merge(library.frPyObjects(rings, HEIGHT, WIDTH)))
    drawn = rasterise(runs_of(rings, HEIGHT, WIDTH), HEIGHT, WIDTH, (HEIGHT, WIDTH))
    assert np.array_equal(drawn, expected.astype(bool))


# Images and annotations


def test_annotations_are_checked_one_by_one(folder):
    images = [IMAGE, {"id": 8, "file_name": "gone.jpg"}, {"id": 9}, "image"]
    bad = [
        {"image_id": 8}, {"image_id": 99}, {"image_id": [1]}, {"category_id": 5}, {"category_id": "x"},
        {"segmentation": None},
    ]  # fmt: skip
    content = coco({}, *bad, images=images)
    content["annotations"].append(None)
    table = read_coco(content, folder)
    assert table.skipped.count == {
        "unknown category_id": 2,
        "annotation without a segmentation": 1,
        "missing photo": 1,
        "image without id and file_name": 2,
        "annotation without an image in the file": 3,
    }
    assert table.skipped.first["missing photo"] == "annotation 2, gone.jpg"
    assert np.array_equal(table.label_map(0), BOX)


def test_images_without_annotations_have_no_clothes_and_are_counted(folder):
    for name in "bc":
        save_photo(folder / f"{name}.jpg")
    images = [IMAGE | {"id": i, "file_name": f"{name}.jpg"} for i, name in enumerate("abc")]
    bad = {"image_id": 2, "segmentation": []}  # clothes, but nobody knows where
    table = read_coco(coco({"image_id": 0}, bad, images=images), folder)
    assert [path.name for path in table.files] == ["a.jpg", "b.jpg"]
    assert not table.label_map(1).any()
    assert "1 photographs have no annotations and are taken as without clothes" in table.lines()


def test_resized_and_turned_photographs_fit(tmp_path):
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


# Categories


def values_by_name(categories: list, classes: ClassTable, folder: Path) -> dict[str, int]:
    table = read_coco(coco({"category_id": categories[0]["id"]}, categories=categories), folder, classes)
    return dict(table.categories.values())


def test_the_default_classes_go_by_names_whatever_the_ids(folder):
    names = ("shoe", "shirt, blouse", "Pants", "T-Shirt", "dress", "person")
    expected = dict(zip(names, (0, 1, 2, 1, 3, 0), strict=True))
    for first in (0, 1, 40):
        assert values_by_name(named(*names, first=first), CLOTHES, folder) == expected
    own = values_by_name(named("background", "Full", "LOWER", "upper"), CLOTHES, folder)
    assert own == {"background": 0, "Full": 3, "LOWER": 2, "upper": 1}
    nameless = [{"id": i} for i in (0, 6, 10, 23)]
    table = read_coco(coco({"category_id": 6}, categories=nameless), folder)
    assert np.array_equal(table.label_map(0), BOX * 2)
    assert "have no names: their ids are taken as iMaterialist's" in table.lines()[0]


def test_class_maps_take_ids_and_names_of_the_file(folder):
    (folder / "map.yml").write_text("dirndl: [dirndl dress, 12]\nshoes: [SHOE_left]\nhats: [hat]")
    classes = load_class_table(str(folder / "map.yml"))
    categories = [*named("Dirndl-Dress", "shoe left", "apron", first=10), *named("cap", first=3)]
    assert values_by_name(categories, classes, folder) == {"Dirndl-Dress": 1, "shoe left": 2, "apron": 1, "cap": 0}


def test_what_was_mapped_is_said(folder):
    table = read_coco(coco({"category_id": 4}, categories=named("trousers", "dress", "shoe", first=3)), folder)
    assert table.lines() == [
        "background: trousers (3), shoe (5)",
        "upper: no category",
        "lower: no category",
        "full: dress (4)",
    ]


# Whole files


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not valid JSON"),
        (b"{" * 10, "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"9" * 10_000, "not valid JSON"),
        (b"[]", "not a COCO file"),
        (b'{"shapes": [], "imagePath": "a.jpg"}', "not a COCO file"),
        (b'{"images": {}, "annotations": []}', "not a COCO file"),
        (coco(categories=["upper"]), "categories needs a whole number"),
        (coco(categories=[{"id": "x", "name": "upper"}]), "categories needs a whole number"),
        (coco(categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]), "two categories with the id 1"),
        (coco(categories=named("person", "dog")), r"\(person, dog\) makes one of the classes upper, lower"),
        (coco(images=[{"id": 1, "file_name": "none.jpg"}]), "nothing usable.*missing photo"),
        (coco(images=[IMAGE, IMAGE | {"file_name": "b.jpg"}]), "the images a.jpg and b.jpg have the same id, 7"),
    ],
)
def test_json_that_cannot_be_used_is_one_line(content, words, folder):
    with pytest.raises(UserError, match=words) as error:
        read_coco(content, folder)
    assert "\n" not in str(error.value)


ID, NAME = st.one_of(st.just(7), JSON), st.one_of(st.just("a.jpg"), JSON)
IMAGES = st.one_of(
    JSON,
    st.fixed_dictionaries(
        {"id": ID, "file_name": NAME},
        optional={"height": st.one_of(st.just(HEIGHT), JSON), "width": st.one_of(st.just(WIDTH), JSON)},
    ),
)
ANNOTATIONS = st.one_of(
    JSON,
    st.fixed_dictionaries(
        {"image_id": ID, "category_id": st.one_of(st.integers(0, 3), JSON)}, optional={"segmentation": SEGMENTATION}
    ),
)
CATEGORIES = st.one_of(
    st.fixed_dictionaries({"id": st.integers(0, 3), "name": st.sampled_from(["dress", "", "x"])}), JSON
)
FILE = st.fixed_dictionaries(
    {"images": st.lists(IMAGES, max_size=3), "annotations": st.lists(ANNOTATIONS, max_size=4)},
    optional={"categories": st.one_of(st.lists(CATEGORIES, max_size=3), JSON)},
)


@pytest.fixture(scope="module")
def one_photo(tmp_path_factory) -> Path:
    return save_photo(tmp_path_factory.mktemp("coco") / "a.jpg").parent


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
