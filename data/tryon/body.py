"""Where a person's body is on a photo, from the joints of a pose network or from another program's parse map."""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

# What lies between joints, by their numbers in BlazePose's order.
EYES, MOUTH, SHOULDERS, HIPS = (2, 5), (9, 10), (11, 12), (23, 24)
ARMS, LEGS = ((11, 13, 15), (12, 14, 16)), ((23, 25, 27), (24, 26, 28))  # from the body to wrist or ankle
HANDS, FEET = ((15, 17, 19), (16, 18, 20)), ((29, 31), (30, 32))  # wrist and two knuckles; heel and toe
SEEN = 0.2  # visibility from which a limb is drawn
# Lengths are shares of the torso: shoulders to hips, or 1.2 times the shoulders' width where a person bends.
ARM, BARE_ARM, LEG, BARE_LEG, NECK, FOOT = 0.16, 0.07, 0.2, 0.09, 0.13, 0.08  # half widths
WAIST = -0.2  # where the upper half ends, counted down from the hip joints

# The values of parse maps, in order, by the data set that the parser was trained on.
PARSE_LABELS = {
    "atr": (
        "background", "hat", "hair", "sunglasses", "upper-clothes", "skirt", "pants", "dress", "belt", "left-shoe",
        "right-shoe", "face", "left-leg", "right-leg", "left-arm", "right-arm", "bag", "scarf",
    ),
    "lip": (
        "background", "hat", "hair", "glove", "sunglasses", "upper-clothes", "dress", "coat", "socks", "pants",
        "jumpsuits", "scarf", "skirt", "face", "left-arm", "right-arm", "left-leg", "right-leg", "left-shoe",
        "right-shoe",
    ),
}  # fmt: skip
# VITON-HD's own maps (image-parse-v3): as LIP's, with the skin of the neck where LIP has jumpsuits.
PARSE_LABELS["cihp"] = tuple("torso-skin" if name == "jumpsuits" else name for name in PARSE_LABELS["lip"])
CLOTHES = {
    "upper": ("upper-clothes", "coat"),
    "lower": ("pants", "skirt"),
    "full": ("dress", "jumpsuits"),
}
SKIN = {"upper": ("left-arm", "right-arm", "torso-skin"), "lower": ("left-leg", "right-leg")}
STAYS = ("hat", "hair", "sunglasses", "glove", "face", "bag", "left-shoe", "right-shoe")


@dataclass(frozen=True)
class Body:
    """A person on an H x W photo.

    limbs: what a garment of a category may cover, and keep: what it leaves, H x W bool by category. halves: the rows
    (from, to) where clothes are most likely of a category. height: of the person in pixels, or None.
    """

    limbs: dict[str, np.ndarray]
    keep: dict[str, np.ndarray]
    halves: dict[str, tuple[float, float]]
    height: float | None = None


def body_of_joints(joints: np.ndarray, bare: np.ndarray) -> Body:
    """joints: 33 x 3, (x, y) in pixels and visibility, in BlazePose's order. bare: H x W bool, where no clothes are.

    Arms and legs are tubes that end at the wrists and ankles; what is kept of hands, head and feet is what is bare.
    """
    points = joints[:, :2] - 0.5  # drawn from the middle of the corner's pixel
    shoulders, hips, eyes, mouth = (points[list(pair)].mean(0) for pair in (SHOULDERS, HIPS, EYES, MOUTH))
    torso = torso_length(joints)
    chin = mouth + 0.75 * (mouth - eyes)
    crown = eyes - 1.1 * (chin - eyes)

    def tubes(lines: tuple, half_width: float) -> np.ndarray:
        mask = np.zeros(bare.shape, np.uint8)
        for line in lines:
            for start, end in pairwise(line):
                if joints[[start, end], 2].min() >= SEEN:
                    draw_tube(mask, points[start], points[end], half_width * torso)
        return mask > 0

    trunk = np.zeros(bare.shape, np.uint8)
    cv2.fillConvexPoly(trunk, points[[11, 12, 24, 23]].round().astype(np.int32), 1)
    draw_tube(trunk, shoulders, chin, NECK * torso)

    kept = tubes(FEET, FOOT).astype(np.uint8)
    for wrist, *knuckles in HANDS:
        reach = points[knuckles].mean(0) - points[wrist]
        draw_tube(
            kept, points[wrist] + 0.5 * reach, points[wrist] + 1.6 * reach, max(0.7 * _length(reach), 0.08 * torso)
        )
    tilt = np.degrees(np.arctan2(*(chin - crown)[::-1]))
    head = (tuple(map(float, (chin + crown) / 2)), (_length(chin - crown), 0.85 * _length(chin - crown)), float(tilt))
    cv2.ellipse(kept, head, 1, -1)
    kept = (kept > 0) & bare

    arms, legs = tubes(ARMS, ARM) | (trunk > 0), tubes(LEGS, LEG)
    return Body(
        limbs={"upper": arms, "lower": legs, "full": arms | legs},
        keep={"upper": kept, "lower": kept | (tubes(ARMS, BARE_ARM) & bare), "full": kept},
        halves={"upper": (0, hips[1] + WAIST * torso), "lower": (hips[1], len(bare))},
        height=_length(points[[27, 28]].mean(0) - hips) + _length(hips - shoulders) + _length(shoulders - crown),
    )


def torso_length(joints: np.ndarray) -> float:
    """In pixels: shoulders to hips, or 1.2 times the shoulders' width where that is more."""
    shoulders, hips = (joints[list(pair), :2] for pair in (SHOULDERS, HIPS))
    return max(_length(shoulders.mean(0) - hips.mean(0)), 1.2 * _length(shoulders[0] - shoulders[1]))


def body_of_parse_map(values: np.ndarray, names: tuple[str, ...]) -> Body:
    """values: H x W uint8 of a parse map. names: of PARSE_LABELS. Its arms reach to the finger tips."""
    skin = {name: np.isin(values, _numbers(names, parts)) for name, parts in SKIN.items()}
    stays = np.isin(values, _numbers(names, STAYS))
    rows = np.flatnonzero(values.any(1))
    return Body(
        limbs=skin | {"full": skin["upper"] | skin["lower"]},
        keep={"upper": stays, "lower": stays | skin["upper"], "full": stays},
        halves={},
        height=float(np.ptp(rows)) + 1 if len(rows) else None,
    )


def clothes_of_parse_map(values: np.ndarray, names: tuple[str, ...], class_names: tuple[str, ...]) -> np.ndarray:
    """The label map, H x W uint8, that a parse map has of the classes upper, lower and full."""
    table = np.zeros(256, np.uint8)
    for name, parts in CLOTHES.items():
        if name in class_names:
            table[_numbers(names, parts)] = class_names.index(name)
    return table[values]


def _numbers(names: tuple[str, ...], wanted: tuple[str, ...]) -> list[int]:
    return [number for number, name in enumerate(names) if name in wanted]


def draw_tube(mask: np.ndarray, start: np.ndarray, end: np.ndarray, half_width: float) -> None:
    """A line with round ends."""
    start, end = (tuple(map(int, point.round().clip(-30000, 30000))) for point in (start, end))
    cv2.line(mask, start, end, 1, min(max(1, round(2 * half_width)), 32767))


def _length(vector: np.ndarray) -> float:
    return float(np.hypot(*vector))
