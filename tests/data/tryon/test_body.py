"""Parse maps of other programs by the names of their values. Joints are tested with the masks (test_agnostic.py)."""

import numpy as np
import pytest

from data.tryon.body import PARSE_LABELS, body_of_parse_map, clothes_of_parse_map

NAMES = ("background", "upper", "lower", "full")


def test_the_published_values():
    for table, numbers in {
        "atr": {"hair": 2, "upper-clothes": 4, "skirt": 5, "pants": 6, "dress": 7, "face": 11, "left-leg": 12,
                "left-arm": 14, "bag": 16, "scarf": 17},
        "lip": {"glove": 3, "upper-clothes": 5, "dress": 6, "coat": 7, "pants": 9, "jumpsuits": 10, "skirt": 12,
                "face": 13, "left-arm": 14, "left-leg": 16, "right-shoe": 19},
        "cihp": {"torso-skin": 10, "coat": 7, "right-arm": 15},
    }.items():  # fmt: skip
        assert {name: PARSE_LABELS[table].index(name) for name in numbers} == numbers


@pytest.mark.parametrize(("table", "name", "clothes", "limb_of", "kept_for"), [
    ("atr", "upper-clothes", 1, "", ""), ("lip", "coat", 1, "", ""), ("atr", "pants", 2, "", ""),
    ("lip", "skirt", 2, "", ""), ("atr", "dress", 3, "", ""), ("lip", "jumpsuits", 3, "", ""),
    ("atr", "left-arm", 0, "upper full", "lower"), ("lip", "right-leg", 0, "lower full", ""),
    ("cihp", "torso-skin", 0, "upper full", "lower"), ("atr", "face", 0, "", "upper lower full"),
    ("lip", "hair", 0, "", "upper lower full"), ("atr", "bag", 0, "", "upper lower full"),
    ("lip", "left-shoe", 0, "", "upper lower full"), ("lip", "socks", 0, "", ""), ("atr", "background", 0, "", ""),
])  # fmt: skip
def test_what_a_value_means(table, name, clothes, limb_of, kept_for):
    names = PARSE_LABELS[table]
    values = np.full((4, 5), names.index(name), np.uint8)
    body = body_of_parse_map(values, names)
    assert (clothes_of_parse_map(values, names, NAMES) == clothes).all()
    assert [category for category in NAMES[1:] if body.limbs[category].all()] == limb_of.split()
    assert [category for category in NAMES[1:] if body.keep[category].all()] == kept_for.split()


def test_classes_of_another_table_have_no_clothes_in_a_parse_map():
    values = np.full((4, 5), PARSE_LABELS["atr"].index("pants"), np.uint8)
    assert not clothes_of_parse_map(values, PARSE_LABELS["atr"], ("background", "coat")).any()
