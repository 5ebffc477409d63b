"""Rasterising against a mask painted pixel by pixel; runs in any order, overlapping, empty (see test_rle)."""

import numpy as np
import pytest

from data.rle import RunLengthError, parse_rle, rasterise


def painted(runs: np.ndarray, height: int, width: int) -> np.ndarray:
    """The mask of runs at its own size, in column-major order."""
    flat = np.zeros(height * width, bool)
    for begin, end in runs:
        flat[begin:end] = True
    return flat.reshape(width, height).T


def test_runs_in_any_order_rasterise_as_the_painted_mask_sampled_nearest():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        height, width = map(int, rng.integers(1, 40, 2))
        size = tuple(map(int, rng.integers(1, 70, 2)))  # smaller, larger, and one of each
        area = height * width
        begin = rng.integers(0, area, rng.integers(0, 12))
        length = np.minimum(rng.integers(0, rng.choice([2, 6, area // 10 + 2, area + 1]), len(begin)), area - begin)
        runs = np.stack((begin, begin + length), 1).astype(np.int32)
        rows = np.floor((np.arange(size[0]) + 0.5) * height / size[0]).astype(int)
        columns = np.floor((np.arange(size[1]) + 0.5) * width / size[1]).astype(int)
        expected = painted(runs, height, width)[rows][:, columns]
        assert np.array_equal(rasterise(runs, height, width, size), expected), (height, width, size, runs.tolist())


@pytest.mark.parametrize("text", ["١ ٢", "² 2", "1,2", "0x1 2", "1\t2", "1\n2", "   "])
@pytest.mark.filterwarnings("error")
def test_text_that_python_would_take_for_numbers_is_not_digits(text):
    with pytest.raises(RunLengthError, match="not digits"):
        parse_rle(text, 4, 3)


@pytest.mark.parametrize("text", ["1 13", "13 1", "1 2 12 2", "2 9223372036854775807", "1 " + "9" * 5000])
@pytest.mark.filterwarnings("error")
def test_one_pixel_too_many_leaves_the_image_and_so_does_any_overflow(text):
    with pytest.raises(RunLengthError, match="leave the image"):
        parse_rle(text, 4, 3)
    assert parse_rle("1 12", 4, 3).tolist() == [[0, 12]]
