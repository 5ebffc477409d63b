"""What a network found on one photograph: its label map and probabilities, at the photograph's own size."""

from collections.abc import Iterator
from copy import copy
from functools import cached_property

import cv2
import numpy as np
from PIL import Image

from utils.errors import UserError

STRIP_BYTES = 16_000_000  # of full-size logits held at once, whatever the photo's size
CONFIDENCE_ROWS = 400  # at least as many are looked at, of a photo that has them


class Segmentation:
    """A photograph, its label map and its class probabilities.

    class_names: by label value, background first. photo: RGB, or None where nobody needs it. size: (H, W) of the whole
    photo. category: the class that the others were made background for, or 'any'. box: the part of the photo that
    labels, probabilities and ``photo`` show, [left, top, right, bottom); H x W below is its size.
    Labels and confidence are computed when they are first asked for, and probabilities each time.
    """

    def __init__(
        self, logits: np.ndarray, size: tuple[int, int], class_names: tuple[str, ...], photo: Image.Image | None = None
    ):
        """logits: C x h x w float32 of the network. size: (H, W) of the photo."""
        self.logits, self.size, self.class_names, self.photo = logits, size, class_names, photo
        self.category = "any"
        self.box = (0, 0, size[1], size[0])

    @classmethod
    def from_labels(
        cls, labels: np.ndarray, class_names: tuple[str, ...], photo: Image.Image | None = None
    ) -> "Segmentation":
        """A label map (H x W uint8) that is known already, without logits and so without probabilities."""
        return cls(np.empty((len(class_names), 0, 0), np.float32), labels.shape, class_names, photo).with_labels(labels)

    @property
    def has_probabilities(self) -> bool:
        return self.logits.size > 0

    @cached_property
    def labels(self) -> np.ndarray:
        """The most probable class of each pixel: H x W uint8.

        Logits are resized bilinearly. Between four neighbours that have the same most probable class, no pixel can have
        another one; so only the pixels between others are computed, which takes a third of the time.
        """
        classes, h, w = self.logits.shape
        best = _most_probable(self.logits)
        around = np.pad(best, ((0, 1), (0, 1)), mode="edge")
        mixed = (best != around[1:, :-1]) | (best != around[:-1, 1:]) | (best != around[1:, 1:])
        logits = self.logits.reshape(classes, h * w).T.copy()
        (above, below, down), (left, right, across) = _neighbours(self.size[0], h), _neighbours(self.size[1], w)
        labels = np.empty(self.size, np.uint8)
        for rows in strips(*self.size, STRIP_BYTES // (4 * classes)):
            strip = best.take(above[rows], 0).take(left, 1)
            y, x = np.nonzero(mixed.take(above[rows], 0).take(left, 1))
            upper, lower = above[rows][y] * w, below[rows][y] * w
            share = across[x, None]
            top = logits.take(upper + left[x], 0) * (1 - share) + logits.take(upper + right[x], 0) * share
            bottom = logits.take(lower + left[x], 0) * (1 - share) + logits.take(lower + right[x], 0) * share
            share = down[rows][y, None]
            strip[y, x] = _most_probable((top * (1 - share) + bottom * share).T)
            labels[rows] = strip
        return labels

    def probability(self, category: str) -> np.ndarray:
        """How likely each pixel is of a class, or with 'any' of one that is not background: H x W float32 in 0..1."""
        result = np.empty(self._shape, np.float32)
        for rows, part in self.probability_strips(category):
            result[rows] = part
        return result

    def probabilities(self) -> np.ndarray:
        """How likely each pixel is of each class: C x H x W float32 in 0..1."""
        result = np.empty((len(self.class_names), *self._shape), np.float32)
        for rows, odds in self._odds():
            result[:, rows] = odds / odds.sum(0)
        return result

    def probability_strips(self, category: str) -> Iterator[tuple[slice, np.ndarray]]:
        """(rows, their probabilities), top to bottom: the same in parts that take little memory. Raises UserError."""
        for rows, odds in self._odds():
            wanted = odds[1:].sum(0) if category == "any" else odds[self._value(category)]
            yield rows, wanted / odds.sum(0)

    def _odds(self) -> Iterator[tuple[slice, np.ndarray]]:
        """(rows, C x rows x W float32) of which each class's share is its probability, from top to bottom."""
        for rows, logits in self._strips():
            yield rows, np.exp(logits - logits.max(0))

    @cached_property
    def confidence(self) -> np.ndarray:
        """Mean probability of each class of clothes over the pixels that the label map gives it: C float64.

        On a large photo only some rows are looked at, evenly spread. NaN for the background, for a class that has no
        pixels there, and without probabilities.
        """
        classes = len(self.class_names)
        total, count = np.zeros(classes), np.zeros(classes)
        every = max(1, self._shape[0] // CONFIDENCE_ROWS)
        sampled = self.labels[::every]
        for rows, logits in self._strips(every) if self.has_probabilities else ():
            clothes = sampled[rows] > 0
            labels, logits = sampled[rows][clothes], logits.transpose(1, 2, 0)[clothes]
            odds = np.exp(logits - logits.max(1, keepdims=True))
            own = np.take_along_axis(odds, labels[:, None].astype(np.intp), 1)[:, 0] / odds.sum(1)
            total += np.bincount(labels, own, classes)
            count += np.bincount(labels, minlength=classes)
        return np.divide(total, count, out=np.full(classes, np.nan), where=count > 0)

    def with_labels(self, labels: np.ndarray) -> "Segmentation":
        """The same with another label map (H x W uint8); probabilities stay the network's."""
        result = copy(self)
        result.__dict__.pop("confidence", None)  # it is of the labels
        result.labels = labels
        return result

    def only(self, category: str) -> "Segmentation":
        """The same with every class but ``category`` made background; 'any' keeps them all. Raises UserError."""
        if category == "any":
            return self
        value = self._value(category)
        result = self.with_labels(np.where(self.labels == value, self.labels, np.uint8(0)))
        result.category = category
        return result

    def _value(self, category: str) -> int:
        if category not in self.class_names:
            raise UserError(f"unknown class {category!r}; this network knows any, {', '.join(self.class_names[1:])}")
        return self.class_names.index(category)

    def cropped(self, box: tuple[int, int, int, int]) -> "Segmentation":
        """The part inside ``box``, [left, top, right, bottom) in pixels of the whole photo, of one not yet cropped."""
        left, top, right, bottom = box
        result = self.with_labels(self.labels[top:bottom, left:right])
        result.box = box
        result.photo = self.photo.crop(box) if self.photo else None
        return result

    @property
    def _shape(self) -> tuple[int, int]:
        left, top, right, bottom = self.box
        return bottom - top, right - left

    def _strips(self, every: int = 1) -> Iterator[tuple[slice, np.ndarray]]:
        """(rows, logits C x rows x W float32) of the box from top to bottom, resized bilinearly.

        every: takes each so many-th row alone, and counts rows in those. As torch's interpolate(align_corners=False),
        but strip by strip: its memory would grow with the photo.
        """
        classes, h, _ = self.logits.shape
        height, width = self.size
        left, top, right, bottom = self.box
        above, below, down = (of_row[top:bottom:every] for of_row in _neighbours(height, h))
        by_row = np.ascontiguousarray(self.logits.transpose(1, 2, 0))  # h x w x C, as OpenCV has it
        for rows in strips(len(above), width, STRIP_BYTES // (4 * classes)):
            share = down[rows, None, None]
            lines = by_row[above[rows]] * (1 - share) + by_row[below[rows]] * share
            wide = cv2.resize(lines, (width, len(lines)), interpolation=cv2.INTER_LINEAR)
            yield rows, wide.reshape(-1, width, classes)[:, left:right].transpose(2, 0, 1)


def _neighbours(length: int, known: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each of ``length`` pixels in a row: the two of ``known`` values it lies between, and the second one's share.

    Pixel centres are aligned and clamped at the edges, as torch's interpolate(align_corners=False) and OpenCV do it.
    """
    source = ((np.arange(length) + 0.5) * (known / length) - 0.5).clip(0, known - 1).astype(np.float32)
    before = source.astype(np.intp)
    return before, np.minimum(before + 1, known - 1), source - before.astype(np.float32)


def strips(height: int, width: int, pixels: int) -> Iterator[slice]:
    """Rows from top to bottom, as many at a time as have so many pixels."""
    step = max(1, pixels // width)
    for first in range(0, height, step):
        yield slice(first, min(first + step, height))


def _most_probable(logits: np.ndarray) -> np.ndarray:
    """argmax of C x ... float32 over the classes, as uint8; NumPy's own takes three times as long here."""
    best = logits[0].copy()
    labels = np.zeros(best.shape, np.uint8)
    for value, plane in enumerate(map(np.ascontiguousarray, logits[1:]), 1):
        np.maximum(labels, (plane > best).view(np.uint8) * np.uint8(value), out=labels)
        np.maximum(best, plane, out=best)
    return labels
