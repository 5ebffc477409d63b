"""Changes to a label map after the network: one class for each garment, no specks or holes, edges moved."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from data.results.segmentation import Segmentation, strips

STRIP_PIXELS = 8_000_000  # looked at together: full-size distances and counts would take 16 bytes a pixel


@dataclass(frozen=True)
class Postprocess:
    """What to change, in this order; all off by default. Sizes are pixels of the photograph.

    one_garment: each connected region of clothes, whatever its classes, gets the class that most of its pixels have.
    It is for photographs of single garments: a shirt and the trousers that touch it become one garment, too.
    min_area: regions of a class with fewer pixels take what most of their border has, background or another class.
    fill_holes: holes in the clothes with fewer pixels take the class that most of their border has.
    grow: background as near as this to clothes takes the nearest class. shrink: clothes as near as this to background
    become background. Borders between classes stay where they are in both, and the photo's edge is not a border.
    """

    one_garment: bool = False
    min_area: int = 0
    fill_holes: int = 0
    grow: int = 0
    shrink: int = 0

    def __call__(self, segmentation: Segmentation) -> Segmentation:
        """The same photograph with a changed label map; probabilities stay the network's. Before ``only``."""
        if self == Postprocess():
            return segmentation
        labels = segmentation.labels.copy()
        if self.one_garment:
            _vote(labels)
        if self.min_area:
            for value in range(1, len(segmentation.class_names)):
                absorb(labels, value, self.min_area)
        if self.fill_holes:
            absorb(labels, 0, self.fill_holes)
        if self.grow:
            labels = _by_strips(labels, self.grow, _grown)
        if self.shrink:
            labels = _by_strips(labels, self.shrink, _shrunk)
        return segmentation.with_labels(labels)


def _vote(labels: np.ndarray) -> None:
    """Give each connected region of clothes its most frequent class; the lower label where two are as frequent."""
    count, regions = cv2.connectedComponents((labels > 0).astype(np.uint8), connectivity=8)
    values = int(labels.max()) + 1
    votes = np.zeros((count, values), np.int64)
    for rows in strips(*labels.shape, STRIP_PIXELS):
        pairs = regions[rows].ravel() * np.int64(values) + labels[rows].ravel()
        votes += np.bincount(pairs, minlength=votes.size).reshape(votes.shape)
    winner = votes.argmax(1).astype(np.uint8)  # region 0 is the background
    for rows in strips(*labels.shape, STRIP_PIXELS):
        labels[rows] = winner[regions[rows]]


def absorb(labels: np.ndarray, value: int, area: float) -> None:
    """Give each region of ``value`` with fewer than ``area`` pixels the value that most of its border has.

    Regions of clothes are connected over corners as well, background is not; background that reaches the photo's edge
    is not a hole.
    """
    mask = (labels == value).astype(np.uint8)
    _, regions, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8 if value else 4)
    small = stats[:, cv2.CC_STAT_AREA] < area
    small[0] = False  # what is not of this value
    if not value:
        small &= off_edge(stats, labels.shape)
    if not small.any():
        return
    rows, columns = np.nonzero(small[regions])
    region = regions[rows, columns]
    values = int(labels.max()) + 1
    votes = np.zeros((len(stats), values), np.int64)
    for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        beside = labels[(rows + down).clip(0, labels.shape[0] - 1), (columns + right).clip(0, labels.shape[1] - 1)]
        border = beside != value
        pairs = region[border] * np.int64(values) + beside[border]
        votes += np.bincount(pairs, minlength=votes.size).reshape(votes.shape)
    labels[rows, columns] = votes.argmax(1).astype(np.uint8)[region]


def off_edge(stats: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Which regions of a picture of size (H, W) do not touch its edge. stats: of connectedComponentsWithStats."""
    left, top, width, height = stats[:, :4].T
    return (left > 0) & (top > 0) & (left + width < size[1]) & (top + height < size[0])


def without_specks(mask: np.ndarray, least: float) -> np.ndarray:
    """A mask (H x W bool) without the regions that have less than ``least`` of the largest one's area."""
    _, regions, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= least * stats[1:, cv2.CC_STAT_AREA].max(initial=0)
    large[0] = False
    return large[regions]


def _grown(labels: np.ndarray, reach: int) -> np.ndarray:
    if not labels.any():  # the distances would tell it too, a hundred times slower
        return labels
    distance, nearest = nearest_pixels(labels > 0)
    return np.where(distance <= reach, labels.ravel()[nearest], np.uint8(0))


def _shrunk(labels: np.ndarray, reach: int) -> np.ndarray:
    if labels.all():
        return labels
    distance = cv2.distanceTransform((labels > 0).astype(np.uint8), cv2.DIST_L2, 5)
    return np.where(distance > reach, labels, np.uint8(0))


def _by_strips(labels: np.ndarray, reach: int, change: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
    """``change(labels, reach)``, strip by strip; each strip sees the rows that can reach into it."""
    result = np.empty_like(labels)
    for rows in strips(*labels.shape, STRIP_PIXELS):
        top = max(0, rows.start - reach - 1)
        result[rows] = change(labels[top : rows.stop + reach + 1], reach)[rows.start - top :][: rows.stop - rows.start]
    return result


def nearest_pixels(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(distance to the nearest pixel of a mask, that pixel's flat index), both H x W: float32 and intp.

    mask: H x W bool. Without a pixel in it, distances are larger than any photo, and the index is 0.
    """
    distance, number = cv2.distanceTransformWithLabels(
        (~mask).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    index = np.zeros(number.max() + 1, np.intp)
    index[number[mask]] = np.flatnonzero(mask)
    return distance, index[number]
