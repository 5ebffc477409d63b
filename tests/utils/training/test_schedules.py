"""Learning rate and image size over a run."""

import pytest

from utils.training.schedules import image_size, learning_rate


def test_schedules_warm_up_and_come_down():
    assert [learning_rate(i, 10, 1.0, "constant", 4) for i in (0, 3, 4, 9)] == [0.25, 1, 1, 1]
    assert learning_rate(0, 10, 1.0, "cosine", 0) == 1
    assert learning_rate(5, 10, 1.0, "cosine", 0) == pytest.approx(0.5)
    assert learning_rate(5, 10, 1.0, "poly", 0) == pytest.approx(0.5**0.9)
    assert learning_rate(4, 4, 1.0, "poly", 4) == 1  # a run that only warms up, told when it is resumed at its end
    assert learning_rate(6, 10, 1.0, "cosine", 2) == pytest.approx(0.5)  # the middle of what the warm-up leaves


def test_smaller_sizes_come_first_none_below_32_and_end_at_the_size_itself():
    sizes = [image_size(i, 100, (256, 192), [(0.5, 0.4), (0.75, 0.8)]) for i in (0, 39, 40, 79, 80, 99)]
    assert sizes == [(128, 96)] * 2 + [(192, 144)] * 2 + [(256, 192)] * 2
    assert image_size(0, 10, (64, 256), [(0.25, 0.5)]) == (32, 64)
