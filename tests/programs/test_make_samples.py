"""scripts/make_samples.py: what it says of a mask, and that its sources are complete."""

import numpy as np
import pytest
from PIL import Image

from scripts.make_samples import ROOT, SAMPLES, compare, read_sources


@pytest.mark.parametrize(("found", "truth", "right", "words"), [  # (value, rows of it) in 10 x 10 pixels
    ((2, 5), (2, 5), True, "lower, 50.0 % of the photo. Found: lower 50.0 %. IoU 1.00."),
    ((1, 5), (2, 5), False, "Found: upper"), ((2, 7), (2, 5), False, "IoU 0.71"),
    ((0, 0), (0, 0), True, "no clothes. Found: no clothes."), ((3, 1), (0, 0), False, "Found: full 10.0 %."),
])  # fmt: skip
def test_a_mask_is_right_by_the_iou_of_the_garments_class_or_if_next_to_nothing_is_found(found, truth, right, words):
    maps = np.zeros((2, 10, 10), np.uint8)
    for labels, (value, rows) in zip(maps, (found, truth), strict=True):
        labels[:rows] = value
    verdict = compare(*maps, ("background", "upper", "lower", "full"))
    assert verdict[0] == right and words in verdict[1]


def test_no_garment_of_the_samples_is_trained_on():
    left_out = set((ROOT / "recipes/validation_garments.csv").read_text().split())
    sources = [source["source"] for source in read_sources()]
    garments = [source.rpartition("/")[2] for source in sources if "clothing-dataset" in source]
    assert len(garments) == 17 and set(garments) <= left_out


def test_every_source_has_its_photo_its_label_map_and_its_rights():
    sources = read_sources()
    assert len(sources) == 20
    for source in sources:
        photo = ROOT / source["photo"]
        with Image.open(photo) as image, Image.open(ROOT / SAMPLES / "labels" / f"{photo.stem}.png") as label:
            assert image.size == label.size and np.asarray(label).max() <= 3
        assert source["source"] and source["rights"].startswith(("CC0", "public domain"))
