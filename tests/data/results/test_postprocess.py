"""Post-processing changes what it says and nothing else, on any label map."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.results import postprocess
from data.results.postprocess import Postprocess
from data.results.segmentation import Segmentation

NAMES = ("background", "upper", "lower", "full")


def changed(labels: np.ndarray, **options) -> np.ndarray:
    before = labels.copy()
    result = Postprocess(**options)(Segmentation.from_labels(labels, NAMES)).labels
    assert np.array_equal(labels, before)  # the network's own label map is left alone
    assert (result.dtype, result.shape) == (np.uint8, labels.shape)
    return result


def drawn(lines: str) -> np.ndarray:
    return np.array([[int(c) for c in line.replace(".", "0")] for line in lines.split()], np.uint8)


@pytest.fixture
def small_strips(monkeypatch):
    """Two or three rows at a time, as a photograph of 100 megapixels is worked on."""
    monkeypatch.setattr(postprocess, "STRIP_PIXELS", 20)


def test_nothing_is_changed_by_default():
    result = Segmentation.from_labels(drawn("12.3"), NAMES)
    assert Postprocess()(result) is result


# Before and after. Joined over a corner, two parts are one garment; a hole is not open over a corner; bays stay.
@pytest.mark.parametrize(("options", "lines"), [
    ({"one_garment": True}, ("111....2 333..... 333....1 ...3...1", "333....2 333..... 333....1 ...3...1")),
    ({"min_area": 4}, ("1...222. ....212. ....222. 33...... ..33....", "....222. ....222. ....222. 33...... ..33....")),
    ({"fill_holes": 3}, ("11111.11 1..11.11 11111111 22222.22 222222.2 2.222222 2.222222",
                         "11111.11 11111.11 11111111 22222222 22222222 2.222222 2.222222")),
    ({"min_area": 100}, ("1...222. ....212. ....222. 33...... 33......", "........ " * 5)),
    ({"fill_holes": 2}, ("11111.11 1..11.11 11111111", "11111.11 1..11.11 11111111")),
    ({"shrink": 2}, ("..111111 ..111111 ..111111 ..111111 ..111111 ..222222 ..222222 ..222222 ........",
                     "....1111 ....1111 ....1111 ....1111 ....1111 ....2222 ........ ........ ........")),
])  # fmt: skip
def test_garments_get_one_class_specks_and_holes_what_is_around_them_and_edges_move(options, lines, small_strips):
    before, after = map(drawn, lines)
    assert np.array_equal(changed(before, **options), after)
    assert np.array_equal(changed(before.T, **options), after.T)


def test_growing_takes_the_nearest_class_and_overwrites_none(small_strips):
    labels = np.zeros((9, 15), np.uint8)
    labels[2:7, 3:6], labels[2:7, 8:10] = 1, 2
    grown = changed(labels, grow=2)
    assert np.array_equal(grown[labels > 0], labels[labels > 0])
    assert grown[4].tolist() == [0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 0, 0, 0]
    assert grown[:, 4].tolist() == [1] * 9
    assert grown[0, 1] == 0  # round corners


def test_empty_and_full_photographs_stay_as_they_are():
    everything = {"one_garment": True, "min_area": 3, "fill_holes": 5, "grow": 2, "shrink": 1}
    for labels in (np.zeros((6, 7), np.uint8), np.full((6, 7), 2, np.uint8)):
        assert np.array_equal(changed(labels, **everything), labels)


@settings(max_examples=40)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_edges_move_by_the_distance_that_is_asked_for(height, width, seed, reach):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (height, width), dtype=np.uint8) * (rng.random((height, width)) < 0.1)
    y, x = np.mgrid[:height, :width]
    at = np.argwhere(labels)
    # OpenCV's distances are up to 2 % off, so pixels about as far as the reach may go either way.
    away = np.sqrt(((y[..., None] - at[:, 0]) ** 2 + (x[..., None] - at[:, 1]) ** 2).min(-1, initial=1e9))
    grown = changed(labels, grow=reach)
    assert (grown[away <= 0.97 * reach] > 0).all()
    assert not grown[away > 1.03 * reach].any()
    assert np.isin(grown, [0, *labels.ravel()]).all()
    clothes = np.uint8(2) - (labels > 0) * np.uint8(2)
    assert np.array_equal(changed(clothes, shrink=reach), np.where(grown == 0, clothes, 0))
