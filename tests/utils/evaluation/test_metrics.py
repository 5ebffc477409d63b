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

from utils.evaluation.metrics import BoundaryScore, ConfusionMatrix, is_split
from utils.label_values import SOME_CLOTHES, UNKNOWN

SIZE = (300, 600)  # a diagonal of 670.8: 0.0075 of it is 5.03 pixels


def label_maps(photos: int = 3) -> list[tuple[np.ndarray, np.ndarray]]:
    """(truth, prediction) of differing sizes, four classes, right about two times in three."""
    rng = np.random.default_rng(0)
    truths = [rng.integers(0, 4, (40 + 10 * i, 60)).astype(np.uint8) for i in range(photos)]
    return [(truth, np.where(rng.random(truth.shape) < 0.5, truth, truth[::-1])) for truth in truths]


def stripe(begin: int, end: int) -> np.ndarray:
    """Labels of a full-height stripe."""
    return np.tile(np.uint8((np.arange(SIZE[1]) >= begin) & (np.arange(SIZE[1]) < end)), (SIZE[0], 1))


def test_figures_agree_with_torchmetrics():
    matrix = ConfusionMatrix(4)
    for pair in label_maps():
        matrix.update(*pair)
    truth, prediction = (
        torch.from_numpy(np.concatenate(side, None)).long() for side in zip(*label_maps(), strict=True)
    )
    iou = multiclass_jaccard_index(prediction, truth, 4, average="none").numpy()
    dice = multiclass_f1_score(prediction, truth, 4, average="none").numpy()
    np.testing.assert_allclose(matrix.iou(), iou, atol=1e-6)
    np.testing.assert_allclose(matrix.dice(), dice, atol=1e-6)
    assert matrix.mean_iou() == pytest.approx(iou.mean(), abs=1e-6)
    assert matrix.mean_foreground_iou() == pytest.approx(iou[1:].mean(), abs=1e-6)
    assert matrix.foreground_iou() == pytest.approx(binary_jaccard_index(prediction > 0, truth > 0).item(), abs=1e-6)
    accuracy = multiclass_accuracy(prediction, truth, 4, average="micro").item()
    assert matrix.pixel_accuracy() == pytest.approx(accuracy, abs=1e-6)


def test_a_class_in_neither_truth_nor_prediction_is_left_out_of_the_means():
    matrix = ConfusionMatrix(3)
    matrix.update(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]))
    assert np.isnan(matrix.iou()[2]) and np.isnan(matrix.dice()[2])
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
    assert np.array_equal(known.pixels, with_unknown.pixels)


def test_clothes_of_unknown_class_count_where_clothes_are_one_class_alone():
    matrix = ConfusionMatrix(4)
    matrix.update(np.repeat([0, 1, 2, SOME_CLOTHES], [4, 3, 1, 4]), np.array([0, 0, 0, 1, 1, 1, 0, 1, 1, 3, 2, 0]))
    assert (matrix.foreground_iou(), matrix.foreground_accuracy()) == (6 / 9, 5 / 9)
    assert matrix.pixel_accuracy() == 5 / 8 and matrix.iou()[:3].tolist() == [3 / 5, 2 / 5, 0]


EMPTY, FULL, STRIPE = stripe(0, 0), stripe(0, 600), stripe(100, 200)
DOT = np.zeros(SIZE, np.uint8)
DOT[100, 100] = 1
APART = np.where(np.arange(600) < 300, STRIPE, UNKNOWN)  # nothing is known from 300 on
CUT = np.where(np.arange(600) < 150, STRIPE, UNKNOWN)  # where the stripe ends is not known
NAN = float("nan")


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(STRIPE, stripe(105, 205))], [1, 1, NAN]), ([(STRIPE, stripe(106, 206))], [0, 0, NAN]),
        ([(STRIPE, EMPTY)], [0, 0, NAN]),  # the background has a boundary in the truth alone, too
        # The tolerance is Euclidean: 4 down and 4 across is 5.66 away; 2 of the 4 pixels around it are nearer.
        ([(DOT, np.roll(DOT, (4, 4), (0, 1)))], [0.5, 0, NAN]), ([(DOT, np.roll(DOT, 5, 0))], [1, 1, NAN]),
        # A second, missed stripe: one of two edges is off by 50, precision is 1/2 and recall 1/4.
        ([(STRIPE | stripe(300, 350), stripe(100, 250))], [1 / 3, 1 / 3, NAN]),
        # Pooled: 600 right boundary pixels and 300 right of 600 are 900 of 1200 on either side.
        ([(STRIPE, STRIPE), (STRIPE, stripe(100, 250))], [0.75, 0.75, NAN]),
        # The edge of the photo is no boundary; the right one of this stripe is, and is wrong.
        ([(FULL, FULL)], [NAN, NAN, NAN]), ([(stripe(0, 100), stripe(0, 150))], [0, 0, NAN]),
        # Boundaries within an unknown region and its edge count nowhere; the stripe's other edge counts as ever.
        ([(APART, STRIPE | stripe(300, 400))], [1, 1, NAN]), ([(CUT, STRIPE)], [1, 1, NAN]),
        ([(CUT, stripe(110, 200))], [0, 0, NAN]),
    ],
)  # fmt: skip
def test_boundary_f_is_what_can_be_worked_out_by_hand(pairs, expected):
    score = BoundaryScore(3)
    for pair in pairs:
        score.update(*pair)
    assert score.f_score().tolist() == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("dress", "upper", "lower", "expected"),
    [(100, 10, 10, True), (100, 9, 90, False), (0, 0, 0, None), (9, 4, 5, None), (10, 5, 5, True)],
)  # fmt: skip
def test_a_dress_is_split_when_upper_and_lower_each_take_a_tenth_of_it(dress, upper, lower, expected):
    """Of 1000 pixels; under a hundredth of dress says nothing."""
    photo = ConfusionMatrix(4)
    prediction = np.repeat([0, 1, 2, 3], [1000 - dress, upper, lower, dress - upper - lower])
    photo.update(np.repeat([0, 3], [1000 - dress, dress]), prediction)
    assert is_split(photo, 3, [1, 2]) is expected
