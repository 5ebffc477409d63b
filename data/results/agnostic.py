"""Masks of what a new garment needs on a person: the old garment, its likely pixels, limbs, and no hands or face."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from data.results.segmentation import Segmentation

SHAPES = ("garment", "hull", "box")
# The classes whose place a new garment takes: those that cover the same part of the body.
REPLACED = {"upper": ("upper", "full"), "lower": ("lower", "full"), "full": ("upper", "lower", "full")}
WORKING_SIDE = 1536  # pixels of the longer side that masks are made at; larger photographs gain nothing
OVERLAP = 0.01  # of the person's height, into clothes that stay: the network's edges are not exact
LIKELY = 0.3  # probability from which a pixel counts as replaced; lower on the half of the body that is dressed anew
LIKELY_ON_HALF = 0.02
PIECE = 0.05  # of the largest piece: smaller ones are specks


@dataclass
class Body:
    """What is known of the person apart from the clothes, on an H x W photograph.

    limbs: what a garment of a category may cover, H x W bool by category. keep: what stays whatever is put on, H x W
    bool. halves: (from, to) rows of the half of the body of a category. height: of the person, in pixels.
    """

    limbs: dict[str, np.ndarray] = field(default_factory=dict)
    keep: np.ndarray | None = None
    halves: dict[str, tuple[float, float]] = field(default_factory=dict)
    height: float | None = None


def agnostic_mask(segmentation, category, shape, margin, body=Body(), T=(LIKELY, LIKELY_ON_HALF, .5), overlap=OVERLAP, drop=True, piece=PIECE):
    labels = segmentation.labels
    names = segmentation.class_names
    replaced = names[1:] if category == "any" else REPLACED.get(category, (category,))
    values = [v for v, n in enumerate(names) if v and n in replaced]
    height = body.height or cv2.boundingRect((labels > 0).astype(np.uint8))[3]
    old = np.isin(labels, values)
    q = segmentation.P[values].sum(0)
    half = body.halves.get(category)
    if half and category in('upper','lower'):
        y = np.arange(len(labels))[:, None]
        inside = (y >= half[0]) & (y < half[1])
        old |= q > np.where(inside, T[1], T[2])
        if drop:
            full = names.index("full"); own = names.index(category)
            n, comp, st, _ = cv2.connectedComponentsWithStats((labels == full).astype(np.uint8))
            zone = np.broadcast_to(inside, labels.shape) if category == 'upper' else np.broadcast_to(y > half[2], labels.shape)
            cnt = np.bincount(comp[zone], minlength=n); cnt[0]=0
            seen = ((labels == own) & zone).sum()
            if seen > cnt.sum():
                for k in range(1, n):
                    if cnt[k] < .1 * st[k, 4]:
                        old[comp == k] = False
    else:
        old |= q > T[0]
    old = pieces(old, piece)
    parts = old.copy()
    reach = margin if margin >= 1 else margin * height
    limbs = body.limbs.get(category)
    if shape == "garment":
        pass
    else:
        if shape == "hull": parts = hull(parts)
        if limbs is not None: parts |= limbs
        if shape == "box" and parts.any():
            x, yy, w, h = cv2.boundingRect(parts.astype(np.uint8)); parts[yy:yy+h, x:x+w] = True
    area = near(parts, reach)
    stays = (labels > 0) & ~old
    stays &= ~near(~stays, overlap * height)
    area &= ~stays
    area = filled(area, stays if body.keep is None else stays | body.keep)
    area = pieces(area, piece)
    if body.keep is not None: area &= ~body.keep
    return area


def near(mask, reach):
    if not mask.any(): return mask
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5) <= reach


def pieces(mask, share):
    n, comp, st, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    a = st[1:, 4]
    if not len(a): return mask
    return np.concatenate([[False], a >= share * a.max()])[comp]


def hull(mask):
    out = mask.astype(np.uint8)
    cs, _ = cv2.findContours(out, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if cs: cv2.fillConvexPoly(out, cv2.convexHull(np.concatenate(cs)), 1)
    return out > 0


def filled(mask, protected):
    n, comp, st, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    x, y, w, h, a = st.T
    hole = (x > 0) & (y > 0) & (x + w < mask.shape[1]) & (y + h < mask.shape[0])
    hole[0] = False
    prot = np.bincount(comp[protected], minlength=n) > .1 * a
    return mask | (hole & ~prot)[comp]
