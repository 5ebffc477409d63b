"""A mask as polygons, to be corrected by hand."""

import cv2
import numpy as np

TOLERANCE = 0.0005  # of the diagonal, at least one pixel: with finer outlines nobody could move the points by hand


def polygons(mask: np.ndarray) -> list[list[int]]:
    """Outlines of the regions of an H x W uint8 mask of 0 and 1 as COCO has them: x, y, x, y, ... each, in pixels.

    Corners lie between pixels: the first pixel alone is [0, 0, 1, 0, 1, 1, 0, 1], or the same from another corner. A
    polygon cannot have holes, so each hole is joined to its outline by a line without width and runs the other way: it
    is empty by every rule of filling. Holes of a few pixels are left out. Edges are at most TOLERANCE off.
    """
    tolerance = max(1.0, TOLERANCE * float(np.hypot(*mask.shape)))
    rings, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outlines: dict[int, np.ndarray] = {}
    holes: dict[int, list[np.ndarray]] = {}
    for number, ring in enumerate(rings):
        parent = tree[0, number, 3]
        if parent < 0:
            outlines[number] = _outline(ring, None, tolerance)
        elif cv2.contourArea(hole := _outline(ring, mask, tolerance)) > 4 * tolerance:
            holes.setdefault(parent, []).append(hole)
    return [_joined(outline, holes.get(n, [])).ravel().tolist() for n, outline in outlines.items()]


def _outline(ring: np.ndarray, mask: np.ndarray | None, tolerance: float) -> np.ndarray:
    """Corners P x 2 int32 around what a contour of OpenCV encloses, its own pixels too, or without those of ``mask``.

    OpenCV's contours go through the middle of pixels. Each corner that a pixel touches is made a pixel here.
    """
    left, top, width, height = cv2.boundingRect(ring)
    inside = np.zeros((height + 1, width + 1), np.uint8)
    cv2.fillPoly(inside, [ring - (left, top)], 1)
    if mask is not None:
        inside[:-1, :-1] &= 1 - mask[top : top + height, left : left + width]
    corners = cv2.dilate(inside, np.ones((2, 2), np.uint8), anchor=(1, 1))
    rings, _ = cv2.findContours(corners, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    around = rings[0]  # what lies within a hole has no ring of its own
    fewer = cv2.approxPolyDP(around, tolerance, closed=True)
    return (fewer if len(fewer) >= 3 else around)[:, 0] + (left, top)  # a narrow region keeps its area


def _joined(outline: np.ndarray, holes: list[np.ndarray]) -> np.ndarray:
    """One ring that goes to each hole, around it and back."""
    for hole in holes:
        apart = ((outline[:, None] - hole[None]) ** 2).sum(2)
        here, there = np.unravel_index(apart.argmin(), apart.shape)
        around = np.concatenate((hole[there:], hole[: there + 1]))[::-1]
        outline = np.concatenate((outline[: here + 1], around, outline[here:]))
    return outline
