"""The one evaluation: photographs against their truths, pooled."""

from unittest.mock import MagicMock, Mock

import numpy as np
import pytest
import torch
from PIL import Image

from data.results.segmentation import Segmentation
from utils.errors import UserError
from utils.evaluation.against_truth import evaluate, validate_all
from utils.label_values import SOME_CLOTHES, UNKNOWN
from utils.training.interruption import Interruption

NAMES = ("background", "upper", "lower", "full")


def examples(count: int = 3) -> list[tuple[int, Image.Image, np.ndarray]]:
    """(index, photo, truth) of photographs; a photo's red channel is its truth."""
    truths = np.random.default_rng(0).integers(0, 4, (count, 40, 60), dtype=np.uint8)
    return [(i, Image.fromarray(np.dstack([truth] * 3)), truth) for i, truth in enumerate(truths)]


def mirrored(photo: Image.Image) -> Segmentation:
    """Finds something else."""
    return Segmentation.from_labels(np.asarray(photo)[:, ::-1, 0], NAMES)


def test_false_alarms_are_the_clothes_found_where_the_truth_has_none():
    def finds_a_tenth(photo):
        return Segmentation.from_labels((np.arange(100) < 10).astype(np.uint8).reshape(10, 10), NAMES)

    photo, bare, clothed = Image.new("RGB", (10, 10)), np.zeros((10, 10), np.uint8), np.ones((10, 10), np.uint8)
    half_known, some = (np.where(np.arange(10) < 5, bare, value).astype(np.uint8) for value in (UNKNOWN, SOME_CLOTHES))
    truths = [bare, clothed, half_known, np.full_like(bare, UNKNOWN), some]
    result = evaluate(finds_a_tenth, [(i, photo, truth) for i, truth in enumerate(truths)], 4)
    assert result.false_alarm() == pytest.approx(15 / 150) and len(result.without_clothes()) == 2
    assert np.isnan(evaluate(mirrored, examples(), 4).false_alarm())


def validated(**sets: list) -> dict[str, float]:
    """sets: examples by name."""
    predictor = Mock(side_effect=mirrored, class_names=NAMES)
    photos = {name: MagicMock(__len__=lambda _: 3, load=Mock(return_value=iter(given))) for name, given in sets.items()}
    return validate_all(predictor, photos, torch.device("cpu"), Interruption())


def test_validation_sets_are_measured_apart_and_their_mean_is_the_miou():
    bare = [(0, Image.fromarray(np.eye(10, dtype=np.uint8)).convert("RGB"), np.zeros((10, 10), np.uint8))]
    metrics = validated(street=examples(), near=examples(1), walls=bare)
    assert metrics["street/miou"] == evaluate(mirrored, examples(), 4).means()["miou"] != metrics["near/miou"]
    assert {name: value for name, value in metrics.items() if "walls" in name} == pytest.approx(
        {"walls/false_alarm": 0.1, "walls/miou": 0.9}
    )
    assert metrics["miou"] == pytest.approx(np.mean([metrics[f"{name}/miou"] for name in ("street", "near", "walls")]))


def test_a_validation_set_in_which_nothing_can_be_decoded_is_an_error():
    with pytest.raises(UserError, match="none of the 3 validation photographs can be compared; check --val"):
        validated(street=())
