"""The one evaluation: photographs against their truths, pooled."""

import numpy as np
import pytest
from PIL import Image

from data.label_values import UNKNOWN
from data.results.segmentation import Segmentation
from utils.evaluation.compare import evaluate
from utils.evaluation.metrics import ConfusionMatrix

NAMES = ("background", "upper", "lower", "full")


def examples(count: int = 3) -> list[tuple[int, Image.Image, np.ndarray]]:
    """(index, photo, truth) of photographs of differing sizes; a photo's red channel is its truth."""
    rng = np.random.default_rng(0)
    found = []
    for index in range(count):
        truth = np.zeros((40 + 10 * index, 60), np.uint8)
        for value in (1, 2, 3):
            top, left = rng.integers(0, 30, 2)
            truth[top : top + 10, left : left + 25] = value
        found.append((10 * index, Image.fromarray(np.dstack([truth] * 3)), truth))
    return found


def oracle(photos: list[Image.Image]) -> list[Segmentation]:
    """Finds the truth."""
    return [Segmentation.from_labels(np.asarray(photo)[..., 0], NAMES) for photo in photos]


def mirrored(photos: list[Image.Image]) -> list[Segmentation]:
    """Finds something else."""
    return [Segmentation.from_labels(np.asarray(photo)[:, ::-1, 0], NAMES) for photo in photos]


def test_a_perfect_prediction_scores_one_everywhere():
    result = evaluate(oracle, examples(), 4)
    assert set(result.means().values()) == set(result.boundary.f_score()) == {1.0}
    assert {matrix.foreground_accuracy() for matrix in result.photos.values()} == {1.0}


def test_figures_are_pooled_over_photographs_and_kept_of_each_by_its_index():
    result = evaluate(mirrored, examples(), 4)
    assert list(result.photos) == [0, 10, 20]
    pooled = ConfusionMatrix(4)
    for index, photo, truth in examples():
        labels = mirrored([photo])[0].labels
        alone = ConfusionMatrix(4)
        alone.update(truth, labels)
        pooled.update(truth, labels)
        assert np.array_equal(result.photos[index].counts, alone.counts)
    assert np.array_equal(result.matrix.counts, pooled.counts)
    assert set(result.means()) == {"miou", "miou_clothes", "clothes_iou"}
    assert 0 < result.means()["miou"] < 1


def test_unknown_pixels_count_nowhere():
    def forget_right_half(truth: np.ndarray) -> np.ndarray:
        return np.where(np.arange(truth.shape[1]) < 30, truth, UNKNOWN).astype(np.uint8)

    def wrong_on_the_right(photos):
        found = [result.labels.copy() for result in oracle(photos)]
        for labels in found:
            labels[:, 40:] = (labels[:, 40:] + 1) % 4
        return [Segmentation.from_labels(labels, NAMES) for labels in found]

    partly_known = [(index, photo, forget_right_half(truth)) for index, photo, truth in examples()]
    assert evaluate(wrong_on_the_right, examples(), 4).means()["miou"] < 1
    result = evaluate(wrong_on_the_right, partly_known, 4)
    assert set(result.means().values()) == set(result.boundary.f_score()) == {1.0}
    assert result.matrix.counts.sum() == sum(truth[:, :30].size for *_, truth in examples())


def test_photographs_without_any_known_pixel_leave_figures_undefined():
    unknown = [(index, photo, np.full_like(truth, UNKNOWN)) for index, photo, truth in examples()]
    assert np.isnan(list(evaluate(oracle, unknown, 4).means().values())).all()


def test_false_alarms_are_the_clothes_found_where_the_truth_has_none():
    def finds_a_tenth(photos):
        return [Segmentation.from_labels((np.arange(100) < 10).astype(np.uint8).reshape(10, 10), NAMES)] * len(photos)

    photo, bare, clothed = Image.new("RGB", (10, 10)), np.zeros((10, 10), np.uint8), np.ones((10, 10), np.uint8)
    half_known = np.where(np.arange(10) < 5, bare, UNKNOWN).astype(np.uint8)
    truths = [bare, clothed, half_known, np.full_like(bare, UNKNOWN)]
    result = evaluate(finds_a_tenth, [(i, photo, truth) for i, truth in enumerate(truths)], 4)
    assert result.false_alarm() == pytest.approx(15 / 150)
    assert np.isnan(evaluate(oracle, examples(), 4).false_alarm())


def test_the_boundary_score_can_be_left_out():
    assert evaluate(oracle, examples(), 4, boundary=False).boundary is None


@pytest.mark.parametrize("wanted", [1, 2])
def test_an_evaluation_that_is_stopped_keeps_what_it_has(wanted):
    asked = []

    def stop() -> bool:
        asked.append(True)
        return len(asked) == wanted

    assert len(evaluate(oracle, examples(), 4, stop=stop).photos) == wanted
