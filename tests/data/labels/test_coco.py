"""COCO files of any content: used where they are sound, counted or refused in one line where they are not."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from data.classes import CLOTHES
from data.labels.coco import SegmentationError, read_coco, runs_of
from data.labels.rle import encode_coco_runs, rasterise, runs_of_mask
from utils.errors import UserError

mask = pytest.importorskip("pycocotools.mask")
fuzz = settings(max_examples=100, deadline=None, database=None)  # a busy machine is not a fault
HEIGHT, WIDTH = 12, 9
NUMBER = st.one_of(
    st.integers(-5, 25),
    st.floats(-30, 50),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e9, -1e308, 10**400, 2**63, 0, HEIGHT * WIDTH]),
)
RING = st.lists(st.tuples(st.integers(-9, 18), st.integers(-9, 18)), min_size=3, max_size=6).map(lambda p: sum(p, ()))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBER, st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)
SEGMENTATION = st.one_of(
    JSON,
    st.lists(st.lists(NUMBER, max_size=12), max_size=3),
    st.fixed_dictionaries(
        {"size": st.sampled_from([[HEIGHT, WIDTH], [WIDTH, HEIGHT], [], 3, None])},
        optional={"counts": st.one_of(JSON, st.lists(NUMBER, max_size=8), st.text("0123PQRnop`_~", max_size=30))},
    ),
)


@fuzz
@given(SEGMENTATION)
@example([[1, 1, math.nan, 5, 8, 8]])  # would hang the library
@example([[1, 1, 1e9, 5, 8, 8]])  # would crash it
@example({"size": [HEIGHT, WIDTH], "counts": [5, 5]})  # too short: it would read foreign memory
@example({"size": [HEIGHT, WIDTH], "counts": "5"})
def test_any_segmentation_is_refused_or_gives_runs_within_the_image(segmentation):
    try:
        runs = runs_of(segmentation, HEIGHT, WIDTH)
    except SegmentationError as error:
        assert "\n" not in str(error)
        return
    assert (runs.dtype, runs.shape[1]) == (np.int32, 2)
    assert (runs[:, 0] >= 0).all() and (runs[:, 0] <= runs[:, 1]).all() and (runs[:, 1] <= HEIGHT * WIDTH).all()


@fuzz
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_compressed_and_plain_run_lengths_of_a_mask_come_back(height, width, seed):
    rng = np.random.default_rng(seed)
    drawn = rng.random((height, width)) < rng.random()
    packed = mask.encode(np.asfortranarray(drawn.astype(np.uint8)))
    assert encode_coco_runs(runs_of_mask(drawn), drawn.size) == packed["counts"].decode()
    flat = np.concatenate(([0], drawn.T.ravel(), [0]))
    edges = [0, *np.flatnonzero(np.diff(flat)).tolist(), height * width]
    counts = np.diff(edges).tolist()  # the last may be a 0, as some tools write
    for written in (packed["counts"].decode(), counts):
        runs = runs_of({"size": [height, width], "counts": written}, height, width)
        assert np.array_equal(rasterise(runs, height, width, (height, width)), drawn)


@fuzz
@given(st.lists(RING, min_size=1, max_size=3))
def test_polygons_within_reach_of_the_image_are_drawn_as_the_library_draws_them(rings):
    rings = [list(map(float, ring)) for ring in rings]
    expected = mask.decode(mask.merge(mask.frPyObjects(rings, HEIGHT, WIDTH)))
    drawn = rasterise(runs_of(rings, HEIGHT, WIDTH), HEIGHT, WIDTH, (HEIGHT, WIDTH))
    assert np.array_equal(drawn, expected.astype(bool))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("coco")
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "a.jpg")
    return folder


def read_or_refuse(content: bytes, folder: Path) -> None:
    (folder / "labels.json").write_bytes(content)
    try:
        table = read_coco(str(folder / "labels.json"), str(folder), CLOTHES)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert len(table) == 1
        assert table.label_map(0).max() <= 3


IMAGE = st.one_of(
    JSON,
    st.fixed_dictionaries(
        {"id": st.one_of(st.just(1), JSON), "file_name": st.one_of(st.just("a.jpg"), JSON)},
        optional={"height": st.one_of(st.just(HEIGHT), JSON), "width": st.one_of(st.just(WIDTH), JSON)},
    ),
)
ANNOTATION = st.one_of(
    JSON,
    st.fixed_dictionaries(
        {"image_id": st.one_of(st.just(1), JSON), "category_id": st.one_of(st.integers(0, 3), JSON)},
        optional={"segmentation": SEGMENTATION},
    ),
)
CATEGORY = st.one_of(
    st.fixed_dictionaries({"id": st.integers(0, 3), "name": st.sampled_from(["dress", "", "x"])}), JSON
)


@fuzz
@given(
    st.one_of(
        JSON,
        st.fixed_dictionaries(
            {"images": st.lists(IMAGE, max_size=3), "annotations": st.lists(ANNOTATION, max_size=4)},
            optional={"categories": st.one_of(st.lists(CATEGORY, max_size=3), JSON)},
        ),
    )
)
def test_any_json_is_used_or_refused_in_one_line(folder, content):
    read_or_refuse(json.dumps(content).encode(), folder)


@fuzz
@given(st.binary(max_size=100))
@example(b"")
@example(b"\xff\xfe")
@example(b"[" * 100_000)
def test_any_bytes_are_refused_in_one_line(folder, content):
    read_or_refuse(content, folder)
