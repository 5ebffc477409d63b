"""Run-lengths: decoded as a mask painted pixel by pixel, whatever their order; anything else is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data.labels.rle import LabelError, encode_rle, parse_rle, rasterise, sample_positions

SIDE = st.integers(1, 40)


def painted(runs: list[tuple[int, int]], height: int, width: int) -> np.ndarray:
    """The mask of runs [begin, end) at its own size, pixel by pixel down the columns: height x width bool."""
    flat = np.zeros(height * width, bool)
    for begin, end in runs:
        flat[begin:end] = True
    return flat.reshape(width, height).T


@st.composite
def images_with_runs(draw) -> tuple[int, int, list[tuple[int, int]]]:
    """(height, width, runs [begin, end)): in any order, overlapping, touching, empty, of one pixel or of all."""
    height, width = draw(SIDE), draw(SIDE)
    position = st.integers(0, height * width - 1)
    begins = draw(st.lists(position, min_size=1, max_size=12))
    return height, width, [(begin, begin + draw(st.integers(0, height * width - begin))) for begin in begins]


@given(images_with_runs(), SIDE, SIDE)
def test_runs_in_any_order_rasterise_as_the_painted_mask_sampled_nearest(image, h, w):
    height, width, runs = image
    text = " ".join(f"{begin + 1} {end - begin}" for begin, end in runs)
    parsed = parse_rle(text, height, width)
    assert parsed.dtype == np.int32 and parsed.tolist() == [list(run) for run in runs]
    rows = np.floor((np.arange(h) + 0.5) * height / h).astype(int)
    columns = np.floor((np.arange(w) + 0.5) * width / w).astype(int)
    expected = painted(runs, height, width)[rows][:, columns]
    assert np.array_equal(rasterise(parsed, height, width, (h, w)), expected)


@given(images_with_runs())
def test_an_encoded_mask_comes_back_and_its_text_is_the_shortest(image):
    height, width, runs = image
    mask = painted(runs, height, width)
    text = encode_rle(mask)
    assert (text == "") == (not mask.any())
    if text:
        parsed = parse_rle(text, height, width)
        assert np.array_equal(rasterise(parsed, height, width, (height, width)), mask)
        assert (parsed[1:, 0] > parsed[:-1, 1]).all()  # apart, in order


def test_sampling_is_pillows_nearest():
    mask = np.random.default_rng(1).integers(0, 255, (37, 53), dtype=np.uint8)
    resized = np.asarray(Image.fromarray(mask).resize((20, 71), Image.Resampling.NEAREST))
    assert np.array_equal(mask[np.ix_(sample_positions(37, 71), sample_positions(53, 20))], resized)


@pytest.mark.parametrize(("kind", "texts"), [
    ("odd count", ["1 2 3"]),
    ("not digits", ["1 x", "1 -2", "1.5 2", "", "   ", "1\t2", "١ ٢", "² 2"]),
    ("leave the image", ["0 2", "1 13", "13 1", "1 2 12 2", "2 9223372036854775807", "1 " + "9" * 5000]),
])  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_malformed_runs_are_named(kind, texts):
    for text in texts:
        with pytest.raises(LabelError, match=kind):
            parse_rle(text, 4, 3)
    assert parse_rle("1 12", 4, 3).tolist() == [[0, 12]]  # one pixel less than the ones refused
