"""Metrics: against torchmetrics, and boundary scores that can be checked by hand."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    binary_jaccard_index,
    multiclass_accuracy,
    multiclass_f1_score,
    multiclass_jaccard_index,
)

from data.label_values import UNKNOWN
from utils.evaluation.metrics import BoundaryScore, ConfusionMatrix, SplitRate

SIZE = (300, 600)  # a diagonal of 670.8: 0.0075 of it is 5.03 pixels


def label_maps(photos: int = 3) -> list[tuple[np.ndarray, np.ndarray]]:
    """(truth, prediction) of differing sizes, four classes, right about two times in three."""
    rng = np.random.default_rng(0)
    pairs = []
    for i in range(photos):
        truth = rng.integers(0, 4, (40 + 10 * i, 60)).astype(np.uint8)
        noise = rng.integers(0, 4, truth.shape).astype(np.uint8)
        pairs.append((truth, np.where(rng.random(truth.shape) < 0.5, truth, noise)))
    return pairs


def stripe(begin: int, end: int, value: int = 1) -> np.ndarray:
    """A full-height stripe of a class."""
    labels = np.zeros(SIZE, np.uint8)
    labels[:, begin:end] = value
    return labels


def boundary_f(*pairs: tuple[np.ndarray, np.ndarray], classes: int = 2) -> list[float]:
    score = BoundaryScore(classes)
    for truth, prediction in pairs:
        score.update(truth, prediction)
    return score.f_score().tolist()


def test_figures_agree_with_torchmetrics():
    matrix = ConfusionMatrix(4)
    for truth, prediction in label_maps():
        matrix.update(truth, prediction)
    truth, prediction = (
        torch.from_numpy(np.concatenate([pair[i].ravel() for pair in label_maps()])).long() for i in (0, 1)
    )
    iou = multiclass_jaccard_index(prediction, truth, 4, average="none").numpy()
    np.testing.assert_allclose(matrix.iou(), iou, atol=1e-6)
    np.testing.assert_allclose(
        matrix.dice(), multiclass_f1_score(prediction, truth, 4, average="none").numpy(), atol=1e-6
    )
    assert matrix.mean_iou() == pytest.approx(iou.mean(), abs=1e-6)
    assert matrix.mean_foreground_iou() == pytest.approx(iou[1:].mean(), abs=1e-6)
    assert matrix.foreground_iou() == pytest.approx(binary_jaccard_index(prediction > 0, truth > 0).item(), abs=1e-6)
    accuracy = multiclass_accuracy(prediction, truth, 4, average="micro").item()
    assert matrix.pixel_accuracy() == pytest.approx(accuracy, abs=1e-6)


def test_a_class_in_neither_truth_nor_prediction_is_left_out_of_the_means():
    matrix = ConfusionMatrix(3)
    matrix.update(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]))
    assert np.isnan(matrix.iou()[2])
    assert np.isnan(matrix.dice()[2])
    assert matrix.mean_foreground_iou() == pytest.approx(0.5)
    assert matrix.mean_iou() == pytest.approx((2 / 3 + 0.5) / 2)


def test_figures_of_nothing_are_undefined_and_silent(recwarn):
    matrix = ConfusionMatrix(3)
    assert np.isnan([matrix.mean_iou(), matrix.foreground_iou(), matrix.pixel_accuracy(), *matrix.iou()]).all()
    assert np.isnan(BoundaryScore(3).f_score()).all()
    assert not recwarn.list


@pytest.mark.parametrize("classes", [4, 254])
def test_unknown_pixels_count_in_no_figure_whatever_was_predicted_for_them(classes):
    known, with_unknown = ConfusionMatrix(classes), ConfusionMatrix(classes)
    for truth, prediction in label_maps():
        hidden = np.random.default_rng(1).random(truth.shape) < 0.3
        known.update(truth[~hidden], prediction[~hidden])
        prediction = np.where(hidden, np.arange(truth.size).reshape(truth.shape) % classes, prediction)
        with_unknown.update(np.where(hidden, UNKNOWN, truth).astype(np.uint8), prediction.astype(np.uint8))
    assert np.array_equal(known.counts, with_unknown.counts)


def test_foreground_accuracy_is_over_clothes_alone_and_stray_pixels_cost_what_they_cover():
    truth = np.array([0] * 90 + [1] * 10)
    prediction = truth.copy()
    prediction[-1] = 2
    matrix = ConfusionMatrix(4)
    matrix.update(truth, prediction)
    assert matrix.foreground_accuracy() == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("shift", "expected"),
    [(0, 1.0), (5, 1.0), (6, 0.0)],
    ids=["identical", "shifted within the tolerance", "shifted beyond it"],
)
def test_boundary_f_of_a_shifted_stripe(shift, expected):
    assert boundary_f((stripe(100, 200), stripe(100 + shift, 200 + shift))) == [expected, expected]


def test_boundary_f_counts_both_sides_of_a_half_right_boundary_and_pools_photographs():
    # One of two edges is off by 50: precision 1/2, recall 1/2. A second, missed stripe: recall 1/4, precision 1/2.
    half_right = stripe(100, 200), stripe(100, 250)
    assert boundary_f(half_right)[1] == pytest.approx(0.5)
    assert boundary_f((half_right[0] | stripe(300, 350), half_right[1]))[1] == pytest.approx(2 * 0.5 * 0.25 / 0.75)
    # 600 right boundary pixels and 300 right of 600: 900 of 1200 on either side, whatever the photo.
    assert boundary_f((stripe(100, 200), stripe(100, 200)), half_right)[1] == pytest.approx(0.75)


def test_boundary_tolerance_is_euclidean():
    # A lone pixel 4 down and 4 across is 5.66 away, over 5.03, though either step alone is within it.
    truth, prediction = np.zeros((2, *SIZE), np.uint8)
    truth[100, 100], prediction[104, 104] = 1, 1
    assert boundary_f((truth, prediction))[1] == 0
    prediction = np.roll(truth, 5, axis=0)
    assert boundary_f((truth, prediction))[1] == 1


def test_boundary_f_of_absent_classes_is_undefined_and_of_missed_ones_zero():
    empty = np.zeros(SIZE, np.uint8)
    f = boundary_f((stripe(100, 200), empty), classes=3)
    assert f[:2] == [0, 0]  # the background has a boundary in the truth alone, too
    assert np.isnan(f[2])


def test_the_edge_of_the_photo_is_no_boundary():
    assert np.isnan(boundary_f((np.ones(SIZE, np.uint8), np.ones(SIZE, np.uint8)))).all()
    # The left edge of this stripe lies on the photo's; only its right one counts, and that one is wrong.
    assert boundary_f((stripe(0, 100), stripe(0, 150)))[1] == 0


def test_boundaries_within_an_unknown_region_and_its_edge_count_nowhere():
    truth = stripe(100, 200)
    truth[:, 300:] = UNKNOWN
    assert boundary_f((truth, stripe(100, 200) | stripe(350, 450))) == [1, 1]
    assert boundary_f((truth, stripe(100, 200) | stripe(300, 400))) == [1, 1]
    assert boundary_f((truth, stripe(100, 200))) == [1, 1]
    truth = stripe(100, 200)
    truth[:, 150:] = UNKNOWN  # whose edge cuts the stripe: where the stripe ends is not known
    assert boundary_f((truth, stripe(100, 200))) == [1, 1]
    assert boundary_f((truth, stripe(100, 400))) == [1, 1]
    assert boundary_f((truth, stripe(110, 200)))[1] == 0  # its other edge counts as ever
    truth[:, :150] = 1
    assert np.isnan(boundary_f((truth, stripe(0, 600)))).all()


@pytest.mark.parametrize(
    ("dress", "upper", "lower", "expected"),
    [(100, 30, 70, (1, 1)), (100, 10, 10, (1, 1)), (100, 9, 90, (1, 0)), (100, 0, 100, (1, 0)), (100, 0, 0, (1, 0)),
     (0, 0, 0, (0, 0)), (9, 4, 5, (0, 0)), (10, 5, 5, (1, 1))],
)  # fmt: skip
def test_a_dress_is_split_when_upper_and_lower_each_take_a_tenth_of_it(dress, upper, lower, expected):
    """Of 1000 pixels; under a hundredth of dress says nothing."""
    photo, rate = ConfusionMatrix(4), SplitRate(3, (1, 2))
    prediction = np.repeat([0, 1, 2, 3], [1000 - dress, upper, lower, dress - upper - lower])
    photo.update(np.repeat([0, 3], [1000 - dress, dress]), prediction)
    rate.update(photo)
    assert (rate.seen, rate.split) == expected
