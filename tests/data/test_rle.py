import numpy as np
import pytest

from data.rle import RunLengthError, encode_rle, parse_rle, rasterise, sample_positions


def test_rasterised_is_the_full_mask_sampled_nearest():
    rng = np.random.default_rng(0)
    for _ in range(300):
        height, width = rng.integers(1, 60, 2)
        h, w = rng.integers(1, 90, 2)
        mask = rng.random((height, width)) < rng.random()
        mask[0, 0] = True
        runs = parse_rle(encode_rle(mask), height, width)
        sampled = mask[np.ix_(sample_positions(height, h), sample_positions(width, w))]
        assert np.array_equal(rasterise(runs, height, width, (h, w)), sampled)


def test_sampling_is_pillows_nearest():
    from PIL import Image

    mask = np.random.default_rng(1).integers(0, 255, (37, 53), dtype=np.uint8)
    resized = np.asarray(Image.fromarray(mask).resize((20, 71), Image.NEAREST))
    assert np.array_equal(mask[np.ix_(sample_positions(37, 71), sample_positions(53, 20))], resized)


def test_runs_are_one_based_and_go_down_the_columns():
    mask = rasterise(parse_rle("1 2 8 1", 3, 3), 3, 3, (3, 3))
    assert mask.astype(int).tolist() == [[1, 0, 0], [1, 0, 1], [0, 0, 0]]


def test_a_run_over_many_columns_and_overlapping_runs():
    assert rasterise(parse_rle("2 7", 3, 3), 3, 3, (3, 3)).sum() == 7
    assert rasterise(parse_rle("1 5 2 3", 3, 3), 3, 3, (3, 3)).sum() == 5


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1 2 3", "odd count"),
        ("1 x", "not digits"),
        ("1 -2", "not digits"),
        ("1.5 2", "not digits"),
        ("", "not digits"),
        ("0 2", "leave the image"),
        ("10 1", "leave the image"),
        ("9 2", "leave the image"),
        ("1 99999999999999999999999", "leave the image"),
        ("9223372036854775807 9223372036854775807", "leave the image"),
    ],
)
def test_malformed_runs_are_named(text, kind):
    with pytest.raises(RunLengthError, match=kind):
        parse_rle(text, 3, 3)
