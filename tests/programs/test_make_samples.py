"""scripts/make_samples.py: what it says of a mask, and that its sources are complete."""

import numpy as np
from PIL import Image

from scripts.make_samples import ROOT, SAMPLES, compare, read_sources

NAMES = ("background", "upper", "lower", "full")


def label_map(value: int, rows: int) -> np.ndarray:
    labels = np.zeros((10, 10), np.uint8)
    labels[:rows] = value
    return labels


def test_a_mask_is_right_by_the_iou_of_the_garments_class():
    right = (True, "lower, 50.0 % of the photo. Found: lower 50.0 %. IoU 1.00.")
    assert compare(label_map(2, 5), label_map(2, 5), NAMES) == right
    assert not compare(label_map(1, 5), label_map(2, 5), NAMES)[0]  # the right place, another class
    assert not compare(label_map(2, 7), label_map(2, 5), NAMES)[0]


def test_a_photo_without_clothes_is_right_if_next_to_none_are_found():
    assert compare(label_map(0, 0), label_map(0, 0), NAMES) == (True, "no clothes. Found: no clothes.")
    assert compare(label_map(3, 1), label_map(0, 0), NAMES) == (False, "no clothes. Found: full 10.0 %.")


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
