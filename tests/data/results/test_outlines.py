"""Polygons draw the mask that they were made from."""

import cv2
import numpy as np
import pytest

from data.results import outlines
from data.results.outlines import polygons

coco = pytest.importorskip("pycocotools.mask")


def drawn(rings: list[list[int]], size: tuple[int, int]) -> np.ndarray:
    return coco.decode(coco.merge(coco.frPyObjects(rings, *size))).astype(np.uint8)


def test_straight_edges_holes_and_single_pixels_are_exact():
    mask = np.zeros((60, 90), np.uint8)
    mask[5:50, 10:80] = 1
    mask[15:30, 20:40] = mask[15:45, 50:70] = 0
    mask[20:40, 55:65], mask[25:30, 58:62] = 1, 0  # an island in a hole, with a hole
    mask[59, 89] = mask[0, 0] = 1
    assert len(polygons(mask)) == 4
    assert np.array_equal(drawn(polygons(mask), mask.shape), mask)
    rings = [np.array(ring).reshape(-1, 2) for ring in polygons(mask)]
    assert abs(sum(cv2.contourArea(ring, oriented=True) for ring in rings)) == mask.sum()  # holes go the other way
    assert polygons(np.zeros((5, 5), np.uint8)) == []
    pierced = np.ones((5, 7), np.uint8)
    pierced[2, 2:4] = 0  # a hole of a few pixels is left out
    assert np.array_equal(drawn(polygons(pierced), (5, 7)), np.ones((5, 7)))


def test_curved_edges_are_near_and_have_few_points():
    noise = np.random.default_rng(0).standard_normal((600, 500)).astype(np.float32)
    mask = (cv2.GaussianBlur(noise, (0, 0), 24) > 0.01).astype(np.uint8)
    rings = polygons(mask)
    off = drawn(rings, mask.shape) != mask
    near = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)) > 0
    assert not off[~near].any()
    assert off.sum() < 0.02 * mask.sum()
    assert sum(map(len, rings)) < 1500


def test_every_region_of_a_mask_of_noise_has_an_outline(monkeypatch):
    mask = (np.random.default_rng(0).random((40, 50)) < 0.4).astype(np.uint8)
    regions = cv2.connectedComponents(mask, connectivity=8)[0] - 1
    assert len(polygons(mask)) == regions
    monkeypatch.setattr(outlines, "TOLERANCE", 0.05)
    assert all(len(ring) >= 6 for ring in polygons(mask))
