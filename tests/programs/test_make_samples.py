"""scripts/make_samples.py: what it says of a mask, and that its sources are complete."""

import numpy as np
import pytest

from scripts.make_samples import ROOT, compare, read_sources


@pytest.mark.parametrize(("found", "truth", "right", "words"), [  # (value, rows of it) in 10 x 10 pixels
    ((2, 5), (2, 5), True, "lower 50.0 % of the photo. Found: lower 50.0 %. IoU 1.00."),
    ((1, 5), (2, 5), False, "Found: upper"), ((2, 7), (2, 5), False, "IoU 0.71"),
    ((0, 0), (0, 0), True, "no clothes. Found: no clothes."), ((3, 1), (0, 0), False, "Found: full 10.0 %."),
])  # fmt: skip
def test_a_mask_is_right_by_the_iou_of_the_garments_class_or_if_next_to_nothing_is_found(found, truth, right, words):
    maps = np.zeros((2, 10, 10), np.uint8)
    for labels, (value, rows) in zip(maps, (found, truth), strict=True):
        labels[:rows] = value
    verdict = compare(*maps, ("background", "upper", "lower", "full"))
    assert verdict[0] == right and words in verdict[1]


def test_of_several_classes_the_mean_counts():
    found, truth = np.zeros((2, 10, 10), np.uint8)
    truth[:4], truth[4:8] = 1, 2
    found[:4], found[6:8] = 1, 2
    assert compare(found, truth, ("background", "upper", "lower")) == (
        False, "upper 40.0 %, lower 40.0 % of the photo. Found: upper 40.0 %, lower 20.0 %. IoU 0.75.",
    )  # fmt: skip


def test_no_garment_of_the_samples_is_trained_on_and_every_source_says_its_rights():
    left_out = set((ROOT / "recipes/validation_garments.csv").read_text().split())
    for source in read_sources():
        if "clothing-dataset" in source["source"]:
            assert source["source"].rpartition("/")[2] in left_out
        assert source["rights"].startswith(("CC0", "CC BY", "public domain"))
