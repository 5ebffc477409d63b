"""Segmentation metrics, pooled over photographs: from one confusion matrix, and along the classes' boundaries."""

import cv2
import numpy as np

from utils.label_values import SOME_CLOTHES

BOUNDARY_TOLERANCE = 0.0075  # of the photo's diagonal, as in Csurka et al. 2013
SPLIT_LEAST_AREA = 0.01  # of the photo: a smaller piece of the whole garment says nothing
SPLIT_LEAST_PART = 0.1  # of the whole garment: what each of its parts must take to call it split


class ConfusionMatrix:
    """Pixels by true class (row) and predicted class (column), pooled over all photographs.

    pixels: C+1 x C int64, the last row of SOME_CLOTHES; counts: C x C, those of a known class.
    """

    def __init__(self, classes: int):
        self.pixels = np.zeros((classes + 1, classes), np.int64)

    @property
    def counts(self) -> np.ndarray:
        return self.pixels[:-1]

    def update(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """truth, prediction: integer arrays of one shape, values below the number of classes.

        Pixels whose truth is UNKNOWN are left out. SOME_CLOTHES counts where clothes are one class, not elsewhere.
        """
        n = len(self.counts)
        row = np.full(256, n + 1)  # of a truth; those that are not known come after all others
        row[:n], row[SOME_CLOTHES] = np.arange(n), n
        pairs = row[truth.ravel()] * n + prediction.ravel()
        self.pixels += np.bincount(pairs, minlength=self.pixels.size)[: self.pixels.size].reshape(self.pixels.shape)

    def iou(self) -> np.ndarray:
        """Intersection over union of each class; NaN where a class is in neither truth nor prediction."""
        hits = np.diag(self.counts)
        union = self.counts.sum(0) + self.counts.sum(1) - hits
        return _ratio(hits, union)

    def dice(self) -> np.ndarray:
        """Dice coefficient of each class; NaN where a class is in neither truth nor prediction."""
        return _ratio(2 * np.diag(self.counts), self.counts.sum(0) + self.counts.sum(1))

    def mean_iou(self) -> float:
        return _mean(self.iou())

    def mean_foreground_iou(self) -> float:
        """Mean IoU of the classes above background."""
        return _mean(self.iou()[1:])

    def foreground_iou(self) -> float:
        """IoU of all classes above background as one class."""
        return float(_ratio(self.pixels[1:, 1:].sum(), self.pixels.sum() - self.pixels[0, 0]))

    def foreground_accuracy(self) -> float:
        """Of the pixels that are foreground in truth or prediction, the share that got the right class.

        For ranking single photographs: unlike a mean over classes, a few stray pixels of a class that is not
        there cost no more than they cover. NaN where neither has foreground.
        """
        right = np.trace(self.counts[1:, 1:]) + self.pixels[-1, 1:].sum()
        return float(_ratio(right, self.pixels.sum() - self.pixels[0, 0]))

    def pixel_accuracy(self) -> float:
        return float(_ratio(np.trace(self.counts), self.counts.sum()))


class BoundaryScore:
    """Boundary F-score of each class, its hits pooled over all photographs.

    A class's boundary is its pixels that touch (4 neighbours) a pixel of another class; the photo's edge is no
    boundary, for nobody drew it. A predicted boundary pixel is a hit when the true boundary of its class passes
    within the tolerance (Euclidean); precision is their share. Recall is the same with the roles changed, F the
    harmonic mean.

    Source: the BF score of Csurka, Larlus, Perronnin and Meylan, "What is a good evaluation measure for semantic
    segmentation?" (BMVC 2013), and their tolerance, 0.0075 of the diagonal. They average F over photographs; here
    hits are pooled first, so that a speck does not weigh as much as a class that fills its photo.
    """

    def __init__(self, classes: int):
        self.hits = np.zeros((2, classes), np.int64)  # of the prediction's boundary, of the truth's
        self.pixels = np.zeros((2, classes), np.int64)

    def update(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """truth, prediction: H x W uint8, values below the number of classes.

        Pixels whose truth is UNKNOWN or SOME_CLOTHES belong to no boundary, and the edge of such a region is not one.
        """
        reach = BOUNDARY_TOLERANCE * np.hypot(*truth.shape)
        # All boundaries lie around the foreground; the rest of the photo need not be searched.
        x, y, w, h = cv2.boundingRect(((truth > 0) | (prediction > 0)).astype(np.uint8))
        window = slice(max(y - 1, 0), y + h + 1), slice(max(x - 1, 0), x + w + 1)
        truth, prediction = truth[window], prediction[window]
        unknown = truth >= self.pixels.shape[1]
        for value in range(self.pixels.shape[1]):
            edges = [_boundary((labels == value) & ~unknown, unknown) for labels in (prediction, truth)]
            for side, (edge, other) in enumerate((edges, edges[::-1])):
                self.pixels[side, value] += np.count_nonzero(edge)
                if edge.any() and other.any():
                    distance = cv2.distanceTransform((~other).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
                    self.hits[side, value] += np.count_nonzero(distance[edge] <= reach)

    def f_score(self) -> np.ndarray:
        """F of each class, 0..1; 0 where only one of truth and prediction has a boundary, NaN where neither has."""
        share = self.hits / np.maximum(self.pixels, 1)
        f = 2 * share.prod(0) / np.maximum(share.sum(0), np.finfo(float).tiny)
        return np.where(self.pixels.any(0), f, np.nan)


def is_split(photo: ConfusionMatrix, whole: int, parts: list[int]) -> bool | None:
    """Whether a photo's garment of the class ``whole`` is read as several others: a dress as a top and a skirt.

    It is where the prediction gives at least 10 % of it to each class of ``parts``. None where the truth gives less
    than 1 % of the photo to such a garment.
    """
    garment = photo.counts[whole]
    if not garment.any() or garment.sum() < SPLIT_LEAST_AREA * photo.counts.sum():
        return None
    return bool(garment[parts].min() >= SPLIT_LEAST_PART * garment.sum())


def _boundary(mask: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Pixels of a mask that touch a known pixel outside it. All H x W bool."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    # OpenCV's erosion takes what lies outside the picture for part of the mask: its edge is not a boundary.
    return mask & ~cv2.erode((mask | unknown).view(np.uint8), cross).view(bool)


def _ratio(part, whole) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.true_divide(part, whole)


def _mean(values: np.ndarray) -> float:
    """Mean of what is defined; NaN where nothing is."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")
