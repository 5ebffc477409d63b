"""Masks of the room that a new garment needs on a person: the old garment, bare limbs, and a margin."""

import re
from dataclasses import dataclass

import cv2
import numpy as np

from data.results.postprocess import off_edge, without_specks
from data.results.segmentation import Segmentation
from data.tryon.body import Body, body_of_joints, body_of_parse_map, clothes_of_parse_map
from utils.errors import UserError

SHAPES = ("garment", "hull", "box")
# The classes whose place a new garment takes: those that cover the same part of the body.
REPLACED = {"upper": ("upper", "full"), "lower": ("lower", "full"), "full": ("upper", "lower", "full")}
WORKING_SIDE = 1536  # pixels of the longer side that masks are made at; more would change no mask by eye
OVERLAP = 0.01  # of the person's height, into clothes that stay: the network's edges are not exact
# Probability of the replaced classes from which a pixel counts as old garment: where the body is not known, on the half
# of the body that is dressed anew, and on the other.
LIKELY, LIKELY_ON_HALF = 0.4, 0.1
ON_HALF = 0.1  # share of a full-body garment on a half of the body from which it covers that half
PIECE = 0.05  # of the largest piece: smaller ones are specks
ParseMap = tuple[np.ndarray, tuple[str, ...]]  # values, H x W uint8, and their names


@dataclass(frozen=True)
class Margin:
    """How far a mask reaches beyond what it must cover: pixels, or per cent of the person's height."""

    amount: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> "Margin":
        """Margin of a text such as 20px or 2%. Raises UserError."""
        found = re.fullmatch(r"([0-9]{1,5}(?:\.[0-9]+)?)(px|%)", text)
        if not found:
            raise UserError(f"{text} is not a margin; write pixels as 20px, or a share of the person's height as 2%")
        return cls(float(found[1]), found[2])

    def pixels(self, height: float, scale: float = 1) -> float:
        """Its width where a person is ``height`` pixels high, on a photo that was scaled by ``scale``."""
        return self.amount * scale if self.unit == "px" else self.amount / 100 * height


def agnostic_mask(
    segmentation: Segmentation,
    category: str,
    shape: str,
    margin: Margin,
    joints: np.ndarray | None = None,
    parse_map: ParseMap | None = None,
) -> np.ndarray:
    """Where a new garment of ``category`` is painted: H x W bool. 'any' takes all clothes, and so does 'full'.

    shape: garment is the old one's own. hull adds limbs, is convex around the garment, and fills the room between the
    legs. box is a rectangle around garment and limbs. All go a little way into clothes that stay, and leave hands, head
    and feet where they are known. joints: as body_of_joints takes them. parse_map: takes the place of the network's
    labels.
    """
    scale = min(1, WORKING_SIDE / max(segmentation.size))
    work = _resized(segmentation, scale)
    if joints is not None:
        joints = joints * np.float32([scale, scale, 1])
    if parse_map is not None:
        values, names = parse_map
        parse_map = cv2.resize(values, work.size[::-1], interpolation=cv2.INTER_NEAREST_EXACT), names
    labels, old, body = _old_garment(work, category, joints, parse_map)
    height = body.height or cv2.boundingRect((labels > 0).astype(np.uint8))[3]
    name = "full" if category == "any" else category
    limbs, keep = (known.get(name, np.zeros_like(old)) for known in (body.limbs, body.keep))

    needed = old
    if shape == "hull":
        needed = _hull(old) | limbs
        if name in ("lower", "full") and limbs.any():  # room for a skirt
            needed |= _hull(body.limbs["lower"])
    elif shape == "box":
        left, top, width, height_of_box = cv2.boundingRect((old | limbs).astype(np.uint8))
        needed = np.zeros_like(old)
        needed[top : top + height_of_box, left : left + width] = True
    stays = (labels > 0) & ~old
    stays &= ~_grown(~stays, OVERLAP * height)
    mask = _grown(needed, margin.pixels(height, scale)) & ~stays
    mask = without_specks(_filled(mask, stays | keep), PIECE) & ~keep
    if scale == 1:
        return mask
    full = cv2.resize(mask.astype(np.float32), segmentation.size[::-1], interpolation=cv2.INTER_LINEAR)
    return full >= 0.5


def _old_garment(
    work: Segmentation, category: str, joints: np.ndarray | None, parse_map: ParseMap | None
) -> tuple[np.ndarray, np.ndarray, Body]:
    """(label map, pixels of the garment that is replaced, what is known of the body)."""
    labels, body = work.labels, Body({}, {}, {})
    if parse_map is not None:
        labels, body = clothes_of_parse_map(*parse_map, work.class_names), body_of_parse_map(*parse_map)
    if joints is not None:
        by_joints = body_of_joints(joints, labels == 0)
        keep = {name: mask | by_joints.keep[name] for name, mask in body.keep.items()} or by_joints.keep
        body = Body(body.limbs or by_joints.limbs, keep, by_joints.halves, body.height or by_joints.height)
    replaced = work.class_names[1:] if category == "any" else REPLACED.get(category, (category,))
    values = [value for value, name in enumerate(work.class_names) if value and name in replaced]
    old, half = np.isin(labels, values), body.halves.get(category)
    if parse_map is None and work.has_probabilities:
        least = LIKELY if half is None else np.full((len(old), 1), LIKELY)
        if half is not None:
            least[_rows(half)] = LIKELY_ON_HALF
        old |= _probability(work, values) > least
    if half is not None and "full" in work.class_names:
        own, full = (labels == work.class_names.index(name) for name in (category, "full"))
        old &= ~elsewhere(full, own, half)
    return labels, without_specks(old, PIECE), body


def _probability(work: Segmentation, values: list[int]) -> np.ndarray:
    """Of these classes together, H x W float32; resized from the network's own size, which is quick."""
    odds = np.exp(work.logits - work.logits.max(0))
    return cv2.resize(odds[values].sum(0) / odds.sum(0), work.size[::-1], interpolation=cv2.INTER_LINEAR)


def elsewhere(full: np.ndarray, own: np.ndarray, half: tuple[float, float]) -> np.ndarray:
    """The full-body garments that do not cover a half of the body on which other clothes are seen, H x W bool.

    A short coat stays where trousers are put on, and a skirt that is called a dress where a top is.
    full, own: H x W bool, where full-body garments and those of the half's own class are. half: its rows.
    """
    rows = _rows(half)
    count, regions, stats, _ = cv2.connectedComponentsWithStats(full.astype(np.uint8))
    on_half = np.bincount(regions[rows].ravel(), minlength=count)
    away = on_half < ON_HALF * stats[:, cv2.CC_STAT_AREA]
    away[0] = False
    return away[regions] & (own[rows].sum() > on_half[1:].sum())


def _rows(half: tuple[float, float]) -> slice:
    return slice(*(max(0, round(row)) for row in half))


def _resized(segmentation: Segmentation, scale: float) -> Segmentation:
    """The same at another scale. The network's logits are far smaller than any photo, and lose nothing."""
    if scale == 1:
        return segmentation
    size = tuple(max(1, round(side * scale)) for side in segmentation.size)
    work = Segmentation(segmentation.logits, size, segmentation.class_names)
    return work.with_labels(cv2.resize(segmentation.labels, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))


def _grown(mask: np.ndarray, reach: float) -> np.ndarray:
    """A mask and what is as near as this to it."""
    if not mask.any():
        return mask
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5) <= reach


def _hull(mask: np.ndarray) -> np.ndarray:
    """The smallest convex area with all of a mask in it."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    area = np.zeros(mask.shape, np.uint8)
    if outlines:
        cv2.fillConvexPoly(area, cv2.convexHull(np.concatenate(outlines)), 1)
    return area > 0


def _filled(mask: np.ndarray, protected: np.ndarray) -> np.ndarray:
    """A mask without its holes, but for those that are mostly ``protected``."""
    count, regions, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    covered = np.bincount(regions[protected], minlength=count)
    hole = off_edge(stats, mask.shape) & (covered < stats[:, cv2.CC_STAT_AREA] / 2)
    hole[0] = False
    return mask | hole[regions]
