"""Masks of the room that a new garment needs on a person."""

import cv2
import numpy as np
import pytest

from data.results.segmentation import Segmentation
from data.tryon.agnostic import SHAPES, Margin, agnostic_mask, elsewhere
from data.tryon.body import body_of_joints
from utils.errors import UserError

NAMES = ("background", "upper", "lower", "full")
UPPER, LOWER, FULL = 1, 2, 3
SIZE = (400, 200)
NONE = Margin(0, "px")
# A person who faces the camera with the arms a little away from the body, in BlazePose's order.
JOINTS = np.zeros((33, 3), np.float32)
JOINTS[:, 2] = 1
for number, x, y in (
    (0, 100, 60), (2, 106, 52), (5, 94, 52), (9, 104, 68), (10, 96, 68), (11, 125, 100), (12, 75, 100),
    (13, 140, 145), (14, 60, 145), (15, 150, 190), (16, 50, 190), (17, 152, 202), (18, 48, 202), (19, 154, 204),
    (20, 46, 204), (21, 150, 200), (22, 50, 200), (23, 115, 200), (24, 85, 200), (25, 115, 280), (26, 85, 280),
    (27, 115, 350), (28, 85, 350), (29, 115, 358), (30, 85, 358), (31, 118, 368), (32, 82, 368),
):  # fmt: skip
    JOINTS[number, :2] = x, y


def dressed(*parts: tuple[int, int, int, int, int]) -> Segmentation:
    """Rectangles (class, top, bottom, left, right)."""
    labels = np.zeros(SIZE, np.uint8)
    for value, top, bottom, left, right in parts:
        labels[top:bottom, left:right] = value
    return Segmentation.from_labels(labels, NAMES)


TWO_PIECES = dressed((UPPER, 95, 190, 70, 130), (LOWER, 190, 300, 80, 120))
ROW = np.mgrid[: SIZE[0], : SIZE[1]][0]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("category", "classes"), [
    ("upper", (UPPER, FULL)), ("lower", (LOWER, FULL)), ("full", (1, 2, 3)), ("any", (1, 2, 3)),
])  # fmt: skip
def test_a_garment_replaces_all_that_covers_the_same_part_of_the_body(category, classes, shape):
    clothes = dressed((UPPER, 40, 120, 50, 150), (LOWER, 120, 220, 50, 150), (FULL, 230, 350, 50, 150))
    mask = agnostic_mask(clothes, category, shape, NONE)
    assert mask[np.isin(clothes.labels, classes)].all()
    deep = cv2.erode((~np.isin(clothes.labels, classes) & (clothes.labels > 0)).astype(np.uint8), np.ones((15, 15))) > 0
    assert not mask[deep].any()


def test_a_class_of_another_table_replaces_itself_alone():
    clothes = Segmentation.from_labels(TWO_PIECES.labels, ("background", "coat", "trousers"))
    mask = agnostic_mask(clothes, "coat", "garment", NONE)
    assert mask[clothes.labels == 1].all()
    assert not mask[200:].any()


def test_the_mask_goes_one_per_cent_of_the_height_into_clothes_that_stay():
    mask = agnostic_mask(TWO_PIECES, "upper", "garment", Margin(20, "px"))
    assert np.flatnonzero(mask[:, 100])[[0, -1]].tolist() == [75, 191]  # 205 rows of clothes: 2 of the trousers
    assert not mask[230].any()
    assert mask[150, 52:148].all()  # 20 pixels to the sides, up to corners


@pytest.mark.parametrize(
    ("shape", "leg_gap", "corner"), [("garment", False, False), ("hull", True, False), ("box", True, True)]
)
def test_shapes_without_a_body(shape, leg_gap, corner):
    trousers = dressed((LOWER, 100, 150, 60, 140), (LOWER, 150, 300, 60, 90), (LOWER, 150, 300, 110, 160))
    mask = agnostic_mask(trousers, "lower", shape, NONE)
    assert mask[280, 100] == leg_gap
    assert mask[101, 158] == corner
    assert mask[trousers.labels > 0].all()


@pytest.mark.parametrize(("category", "shape", "masked", "kept"), [
    ("upper", "hull", "arms trunk", "hands head legs feet"), ("upper", "box", "arms trunk", "hands head legs feet"),
    ("lower", "hull", "legs", "hands head forearms feet"), ("full", "hull", "arms trunk legs", "hands head feet"),
    ("upper", "garment", "trunk", "hands head legs feet forearms"), ("lower", "garment", "", "hands head feet"),
])  # fmt: skip
def test_limbs_of_the_category_are_masked_and_hands_head_and_feet_stay(category, shape, masked, kept):
    parts = {
        "arms": [(140, 145), (147, 170), (60, 145)], "forearms": [(147, 172), (53, 172)],
        "trunk": [(100, 150), (80, 110)], "legs": [(115, 330), (85, 250)], "hands": [(152, 203), (48, 203)],
        "head": [(100, 60), (100, 45)], "feet": [(117, 365), (83, 365)],
    }  # fmt: skip
    clothes = dressed((UPPER, 100, 190, 72, 128), (LOWER, 190, 240, 80, 120))
    mask = agnostic_mask(clothes, category, shape, Margin(1, "%"), JOINTS)
    for names, expected in ((masked, True), (kept, False)):
        for name in names.split():
            assert all(mask[y, x] == expected for x, y in parts[name]), name
    assert cv2.connectedComponents(mask.astype(np.uint8))[0] == 2  # background and one piece
    between_the_legs = mask[320, 100]  # a new skirt has room there
    assert between_the_legs == (category != "upper" and shape != "garment")


def test_a_limb_that_is_not_seen_is_not_masked_and_sleeves_over_the_hands_are():
    joints = JOINTS.copy()
    joints[15, 2] = 0.1
    mask = agnostic_mask(dressed((UPPER, 100, 190, 72, 128)), "upper", "hull", NONE, joints)
    assert mask[150, 60] and not mask[175, 150]
    clothes = dressed((UPPER, 95, 190, 70, 130), (UPPER, 120, 215, 130, 165))
    assert agnostic_mask(clothes, "upper", "hull", NONE, JOINTS)[203, 152]


def test_hands_that_only_joints_know_stay_beside_a_parse_map():
    values = TWO_PIECES.labels % 2  # its upper clothes
    values[130:215, 130:165] = 2  # an arm to the finger tips
    parse_map = values, ("background", "upper-clothes", "left-arm")
    for joints, hand in ((None, True), (JOINTS, False)):
        mask = agnostic_mask(dressed(), "upper", "hull", NONE, joints, parse_map)
        assert mask[150, 162] and mask[203, 152] == hand


@pytest.mark.parametrize(("category", "clothes", "stays"), [
    ("lower", [(FULL, 95, 195, 65, 135), (LOWER, 195, 340, 80, 120)], True),  # a short coat above trousers
    ("upper", [(UPPER, 95, 195, 65, 135), (FULL, 195, 340, 80, 120)], True),  # a skirt that is called a dress
    ("lower", [(FULL, 95, 300, 65, 135)], False),  # a dress
    ("upper", [(FULL, 95, 300, 65, 135)], False),
    ("lower", [(FULL, 95, 195, 65, 135)], False),  # nothing else is seen below
])  # fmt: skip
def test_a_full_body_garment_counts_where_it_lies(category, clothes, stays):
    result = dressed(*clothes)
    mask = agnostic_mask(result, category, "garment", NONE, JOINTS)
    inner = cv2.erode((result.labels == FULL).astype(np.uint8), np.ones((21, 21))) > 0
    assert mask[inner].any() != stays
    half = body_of_joints(JOINTS, result.labels == 0).halves[category]
    own = result.labels == NAMES.index(category)
    assert elsewhere(result.labels == FULL, own, half).any() == stays


def test_likely_pixels_belong_to_the_old_garment():
    logits = np.zeros((4, *SIZE), np.float32)
    logits[0] = 8
    logits[UPPER, 100:150, 60:140] = 16
    logits[LOWER, 150:200, 60:140] = 16
    logits[UPPER, 150:200, 60:140] = 15.8  # called lower by a hair
    clothes = Segmentation(logits, SIZE, NAMES)
    assert (clothes.labels[150:200, 60:140] == LOWER).all()
    assert agnostic_mask(clothes, "upper", "garment", NONE)[155:195, 65:135].all()
    logits[UPPER, 150:200, 60:140] = 14
    clothes = Segmentation(logits, SIZE, NAMES)
    assert not agnostic_mask(clothes, "upper", "garment", NONE)[160:195, 65:135].any()
    assert agnostic_mask(clothes, "upper", "garment", NONE, JOINTS)[155:170, 65:135].all()  # above the waist
    bare = np.zeros(SIZE, np.uint8), ("background",)
    assert not agnostic_mask(clothes, "upper", "garment", NONE, parse_map=bare).any()  # the map knows better


def test_holes_are_filled_and_specks_dropped():
    clothes = dressed((UPPER, 100, 200, 50, 150), (0, 140, 160, 90, 110), (UPPER, 300, 304, 10, 14))
    mask = agnostic_mask(clothes, "upper", "garment", NONE)
    assert mask[100:200, 50:150].all() and mask.sum() == 10_000
    clothes = dressed((UPPER, 100, 200, 50, 150), (LOWER, 130, 170, 80, 120))
    assert not agnostic_mask(clothes, "upper", "hull", NONE)[140:160, 90:110].any()  # clothes that stay are no hole


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("joints", [None, JOINTS])
def test_a_photo_without_clothes(shape, joints):
    mask = agnostic_mask(dressed(), "upper", shape, Margin(2, "%"), joints)
    assert mask.shape == SIZE
    assert mask.any() == (joints is not None and shape != "garment")  # bare arms still need the room


def test_large_photos_have_the_masks_of_small_ones():
    large = Segmentation.from_labels(np.repeat(np.repeat(TWO_PIECES.labels, 10, 0), 10, 1), NAMES)
    joints = JOINTS * np.float32([10, 10, 1])
    mask = agnostic_mask(large, "upper", "hull", Margin(100, "px"), joints)
    small = agnostic_mask(TWO_PIECES, "upper", "hull", Margin(10, "px"), JOINTS)
    assert mask.shape == (4000, 2000)
    assert (mask[5::10, 5::10] != small).mean() < 0.005


@pytest.mark.parametrize("text", ["20", "0.02", "-2%", "2 %", "px", "", "1e3px", "nan%", "٢%"])
def test_a_margin_needs_its_unit(text):
    sizes = {"20px": 20, "2%": 8, "0.5%": 2, "12.5px": 12.5}
    assert {each: Margin.parse(each).pixels(400) for each in sizes} == sizes
    with pytest.raises(UserError, match="20px.*2%"):
        Margin.parse(text)


def test_limbs_lie_on_their_joints_to_a_tenth_of_a_pixel():
    apart = []
    for shift in np.random.default_rng(0).uniform(0, 1, (200, 2)):
        joints = JOINTS + np.float32([*shift, 0])
        limbs = body_of_joints(joints, np.ones(SIZE, bool)).limbs["lower"]
        apart.append(np.nonzero(limbs)[1].mean() + 0.5 - joints[23:29, 0].mean())
    assert abs(np.mean(apart)) < 0.1
