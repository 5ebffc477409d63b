"""Masks of COCO annotations: every spelling is read, and nothing unsound reaches the library."""

import json
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pycocotools import mask as library

from data.labels.coco_masks import runs_of
from data.labels.rle import LabelError, rasterise
from tests.data.labels.drawn import BOX, HEIGHT, WIDTH, mask_of

RECTANGLE = [6, 5, 20, 5, 20, 25, 6, 25]  # BOX


def counts_of(mask: np.ndarray) -> list[int]:
    """Uncompressed run-lengths."""
    flat = np.concatenate(([0], mask.T.ravel(), [0]))
    return np.diff([0, *np.flatnonzero(np.diff(flat)).tolist(), mask.size]).tolist()


def drawn(segmentation: object) -> np.ndarray:
    return rasterise(runs_of(segmentation, HEIGHT, WIDTH), HEIGHT, WIDTH, (HEIGHT, WIDTH))


RLE = {"size": [HEIGHT, WIDTH], "counts": counts_of(BOX)}
PAIRS = [[6, 5], [20, 5], [20, 25], [6, 25]]
HALVES = [
    {"size": [HEIGHT, WIDTH], "counts": counts_of(half)} for half in (mask_of(5, 6, 12, 20), mask_of(12, 6, 25, 20))
]
COMPRESSED = library.encode(np.asfortranarray(BOX))["counts"].decode()


@pytest.mark.parametrize("segmentation", [
    [RECTANGLE], RECTANGLE, [RECTANGLE, [1, 1, 2, 2]], [RECTANGLE, [7, 6, 9, 6, 9, 9]], [list(map(str, RECTANGLE))],
    [PAIRS], PAIRS, [[PAIRS]], [[{"x": x, "y": str(y)} for x, y in PAIRS]],
    json.dumps([RECTANGLE]), json.dumps(RLE), RLE, RLE | {"counts": COMPRESSED},
    RLE | {"counts": f"b'{COMPRESSED}'"}, RLE | {"counts": list(map(float, RLE["counts"]))},
    RLE | {"counts": [f"{count:e}" for count in RLE["counts"]]},
    RLE | {"counts": " ".join(map(str, RLE["counts"]))}, RLE | {"counts": str(RLE["counts"])},
    RLE | {"size": [float(HEIGHT), str(WIDTH)]}, {"counts": RLE["counts"]}, [RLE], HALVES,
])  # fmt: skip
def test_run_lengths_and_polygons_are_read_in_every_spelling(segmentation):
    assert np.array_equal(drawn(segmentation), BOX)


def test_polygons_may_reach_over_the_rim():
    assert np.array_equal(drawn([[-5, -5, 50, -5, 50, 10, -5, 10]]), mask_of(0, 0, 10, WIDTH))


BAD = {
    "far outside": [[[6, 5, 20, 5, value, 25]] for value in (math.nan, math.inf, 1e9)],  # would hang or crash it
    "not a list of numbers": [[[6, 5, 20, 5, 10**400, 25]], [["6", "5", "x", "5", "20", "25"]],
                              [[[[[[[6, 5], [20, 5], [20, 25]]]]]]]],
    "fewer than three points": [[[6, 5, 20, 25]], [[]]], "odd count": [[[6, 5, 20, 5, 20, 25, 6]]],
    "outline": [[0, 0, WIDTH, HEIGHT, 0, HEIGHT] * 20_000],
    "shares of the image": [[[0.1, 0.1, 0.5, 0.1, 0.5, 0.9]], [[0, 0, 1.01, 0, 1.01, 1, -0.01, 1]]],
    "mostly outside": [[[31, 5, 40, 5, 40, 25, 31, 25]], [[10, -30, 20, -30, 20, 5]]],
    "without a segmentation": [None, [], {}], "neither polygons nor run-lengths": ["mask.png"],
    "another size": [RLE | {"size": [WIDTH, HEIGHT]}],
    "do not make up the image": [  # with too few the library would read foreign memory
        [RLE, RLE | {"counts": [1199]}],
        *(RLE | {"counts": counts} for counts in (RLE["counts"][:-2], [*RLE["counts"], 5], [2**70], "Y12"))],
    "not numbers": [RLE | {"counts": counts} for counts in (
        [-5, 1205], [1199.5, 0.5], [True, 1199], ["9" * 5000], "600 x", None)],
    "cannot be unpacked": [RLE | {"counts": counts} for counts in ("", "Y12V1P", "~~~~", "ünï", "oooooooooooooooo1")],
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_segmentation_is_refused_by_its_kind_before_it_reaches_the_library(fault):
    for segmentation in BAD[fault]:
        with pytest.raises(LabelError, match=fault):
            runs_of(segmentation, HEIGHT, WIDTH)


SPECIAL = [math.nan, math.inf, -math.inf, 1e9, -1e308, 10**400, 2**63, 2**31, 0, HEIGHT * WIDTH]
NUMBER = st.integers(-50, 100) | st.floats() | st.sampled_from(SPECIAL)
RING = st.lists(st.tuples(st.integers(-9, 39), st.integers(-9, 49)), min_size=3, max_size=6).map(lambda p: sum(p, ()))
JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
BYTES = st.binary(max_size=9).map(lambda content: "".join(chr(48 + byte % 64) for byte in content))
COUNTS = JSON | st.lists(NUMBER, max_size=8) | st.text("0123PQRnop`_~", max_size=30) | BYTES
POLYGONS = st.lists(NUMBER, max_size=12) | st.lists(st.floats(-60, 90), min_size=3, max_size=8).map(
    lambda half: half * 2
)
SIZES = st.sampled_from([[HEIGHT, WIDTH], [WIDTH, HEIGHT], [], 3, None])
RUNS = st.fixed_dictionaries({"size": SIZES}, optional={"counts": COUNTS})
SEGMENTATION = JSON | st.lists(POLYGONS, max_size=3) | RUNS


@given(SEGMENTATION)
def test_any_segmentation_is_refused_or_gives_runs_within_the_image(segmentation):
    try:
        runs = runs_of(segmentation, HEIGHT, WIDTH)
    except LabelError as error:
        assert "\n" not in str(error)
        return
    assert (runs.dtype, runs.shape[1]) == (np.int32, 2)
    assert (runs[:, 0] >= 0).all() and (runs[:, 0] <= runs[:, 1]).all() and (runs[:, 1] <= HEIGHT * WIDTH).all()


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


@given(st.lists(RING, min_size=1, max_size=3))
def test_polygons_within_reach_of_the_image_are_drawn_as_the_library_draws_them(rings):
    rings = [list(map(float, ring)) for ring in rings]
    try:
        runs = runs_of(rings, HEIGHT, WIDTH)
    except LabelError as error:
        assert "outside" in str(error) or "shares" in str(error)
        return
    expected = library.decode(library.merge(library.frPyObjects(rings, HEIGHT, WIDTH)))
    assert np.array_equal(rasterise(runs, HEIGHT, WIDTH, (HEIGHT, WIDTH)), expected.astype(bool))
