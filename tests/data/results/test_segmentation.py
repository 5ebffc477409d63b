"""Label maps and probabilities at the photo's own size: as PyTorch resizes logits, in bounded memory."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from data.results import segmentation
from data.results.segmentation import Segmentation
from tests.helpers import ROOT
from utils.errors import UserError

NAMES = ("background", "upper", "lower", "full")


def logits_and_resized(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Random logits, and the same resized by PyTorch."""
    logits = torch.randn(4, 48, 64, generator=torch.Generator().manual_seed(0))
    resized = F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0]
    return logits.numpy(), resized.numpy()


@pytest.mark.parametrize("size", [(64, 48), (37, 91), (200, 333), (1, 1), (1, 500)])
@pytest.mark.parametrize("strip_bytes", [64_000_000, 5_000])
def test_labels_and_probabilities_are_argmax_and_softmax_of_bilinearly_resized_logits(size, strip_bytes, monkeypatch):
    monkeypatch.setattr(segmentation, "STRIP_BYTES", strip_bytes)
    logits, resized = logits_and_resized(size)
    found = Segmentation(logits, size, NAMES)
    assert (found.labels.dtype, found.labels.shape) == (np.uint8, size)
    first, second = np.sort(resized, axis=0)[:-3:-1]
    clear = first - second > 1e-3  # elsewhere rounding decides
    assert clear.mean() > 0.99
    assert np.array_equal(found.labels[clear], resized.argmax(0)[clear])
    maps = np.stack([found.probability(name) for name in NAMES])
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, torch.from_numpy(resized).softmax(0).numpy(), atol=2e-4)
    np.testing.assert_allclose(maps.sum(0), 1, atol=1e-5)
    np.testing.assert_allclose(found.probability("any"), 1 - maps[0], atol=1e-5)
    np.testing.assert_array_equal(found.probabilities(), maps)


def test_extreme_logits_give_probabilities_and_no_overflow(recwarn):
    logits = np.zeros((4, 2, 2), np.float32)
    logits[1] = 1e4
    found = Segmentation(logits, (3, 3), NAMES)
    assert (found.probability("upper") == 1).all() and (found.probability("full") == 0).all()
    assert not recwarn.list


def test_only_one_class_keeps_the_photo_and_the_probabilities_and_known_labels_need_no_logits():
    logits, _ = logits_and_resized((20, 30))
    found = Segmentation(logits, (20, 30), NAMES, Image.new("RGB", (30, 20)))
    upper = found.only("upper")
    assert np.array_equal(upper.labels, np.where(found.labels == 1, 1, 0))
    assert upper.photo is found.photo and found.only("any") is found
    assert np.array_equal(upper.probability("upper"), found.probability("upper"))
    known = Segmentation.from_labels(np.array([[0, 1], [2, 3]], np.uint8), NAMES)
    assert known.labels.tolist() == [[0, 1], [2, 3]]
    assert known.only("lower").labels.tolist() == [[0, 0], [2, 0]]
    for ask in (found.only, found.probability):
        with pytest.raises(UserError, match="unknown class 'hat'; this network knows any, upper"):
            ask("hat")


PROGRAM = """
import sys
import numpy as np
from data.results.segmentation import Segmentation
side = int(sys.argv[1])
found = Segmentation(np.random.default_rng(0).standard_normal((4, 32, 32), np.float32), (side, side), tuple("abcd"))
labels = found.labels
found.probability("a")
"""


def peak_megabytes(side: int) -> float:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(side)], cwd=ROOT)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_maxrss / 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in other units elsewhere")
def test_large_photos_take_their_results_and_little_more():
    results = 100 * (1 + 4)  # MB: labels and one probability map of 100 megapixels; all logits would be 1600 MB
    assert peak_megabytes(10_000) - peak_megabytes(10) < results + 450


def test_a_crop_has_the_labels_and_probabilities_of_its_part(monkeypatch):
    monkeypatch.setattr(segmentation, "STRIP_BYTES", 5_000)
    logits, _ = logits_and_resized((200, 333))
    whole = Segmentation(logits, (200, 333), NAMES)
    part = whole.only("lower").cropped((30, 20, 300, 150))
    assert np.array_equal(part.labels, whole.only("lower").labels[20:150, 30:300])
    assert np.array_equal(part.probability("lower"), whole.probability("lower")[20:150, 30:300])


@pytest.mark.parametrize("rows", [20, 1000])
def test_confidence_is_the_mean_probability_of_each_class_over_its_pixels(rows, monkeypatch):
    monkeypatch.setattr(segmentation, "STRIP_BYTES", 5_000)
    monkeypatch.setattr(segmentation, "CONFIDENCE_ROWS", rows)
    logits, _ = logits_and_resized((200, 333))
    found = Segmentation(logits, (200, 333), NAMES)
    assert np.isfinite(found.confidence[1:]).all()
    found = found.with_labels(np.where(found.labels == 2, np.uint8(0), found.labels))
    confidence = found.confidence
    assert np.isnan(confidence[[0, 2]]).all()
    for value in (1, 3):
        expected = found.probability(NAMES[value])[found.labels == value].mean()
        assert confidence[value] == pytest.approx(expected, abs=1e-5 if rows == 1000 else 0.02)
