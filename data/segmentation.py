"""What a network found on one photograph: its label map and probabilities, at the photograph's own size."""

from collections.abc import Iterator
from functools import cached_property

import cv2
import numpy as np
from PIL import Image

STRIP_BYTES = 16_000_000  # of full-size logits held at once, whatever the photo's size


class Segmentation:
    """A photograph, its label map and its class probabilities.

    class_names: by label value, background first. photo: RGB, or None where nobody needs it.
    Labels are computed when they are first asked for, and probabilities each time.
    """

    def __init__(
        self, logits: np.ndarray, size: tuple[int, int], class_names: tuple[str, ...], photo: Image.Image | None = None
    ):
        """logits: C x h x w float32 of the network. size: (H, W) of the photo."""
        self.logits, self.size, self.class_names, self.photo = logits, size, class_names, photo

    @classmethod
    def from_labels(
        cls, labels: np.ndarray, class_names: tuple[str, ...], photo: Image.Image | None = None
    ) -> "Segmentation":
        """A label map (H x W uint8) that is known already, without logits and so without probabilities."""
        return cls(np.empty((len(class_names), 0, 0), np.float32), labels.shape, class_names, photo).with_labels(labels)

    @cached_property
    def labels(self) -> np.ndarray:
        """The most probable class of each pixel: H x W uint8."""
        labels = np.empty(self.size, np.uint8)
        for rows, logits in self._strips():
            labels[rows] = logits.argmax(0)
        return labels

    def probability(self, category: str) -> np.ndarray:
        """How likely each pixel is of a class, or with 'any' of one that is not background: H x W float32 in 0..1."""
        result = np.empty(self.size, np.float32)
        for rows, logits in self._strips():
            odds = np.exp(logits - logits.max(0))
            wanted = odds[1:].sum(0) if category == "any" else odds[self.class_names.index(category)]
            result[rows] = wanted / odds.sum(0)
        return result

    def with_labels(self, labels: np.ndarray) -> "Segmentation":
        """The same with another label map (H x W uint8); probabilities stay the network's."""
        result = Segmentation(self.logits, self.size, self.class_names, self.photo)
        result.labels = labels
        return result

    def only(self, category: str) -> "Segmentation":
        """The same with every class but ``category`` made background; 'any' keeps them all."""
        if category == "any":
            return self
        value = self.class_names.index(category)
        return self.with_labels(np.where(self.labels == value, self.labels, np.uint8(0)))

    def _strips(self) -> Iterator[tuple[slice, np.ndarray]]:
        """(rows, logits C x rows x W float32) of the photo from top to bottom, resized bilinearly.

        As torch's interpolate(align_corners=False), but strip by strip: its memory would grow with the photo.
        """
        classes, h, w = self.logits.shape
        height, width = self.size
        # Source row of each target row, pixel centres aligned, clamped at the edges.
        source = ((np.arange(height) + 0.5) * (h / height) - 0.5).clip(0, h - 1).astype(np.float32)
        above = source.astype(np.intp)
        below = np.minimum(above + 1, h - 1)
        part = source - above
        by_row = np.ascontiguousarray(self.logits.transpose(1, 2, 0))  # h x w x C, as OpenCV has it
        step = max(1, STRIP_BYTES // (classes * width * by_row.itemsize))
        for top in range(0, height, step):
            rows = slice(top, min(top + step, height))
            share = part[rows, None, None]
            lines = by_row[above[rows]] * (1 - share) + by_row[below[rows]] * share
            lines = lines.reshape(lines.shape[0], w, classes)
            wide = cv2.resize(lines, (width, lines.shape[0]), interpolation=cv2.INTER_LINEAR)
            yield rows, wide.reshape(-1, width, classes).transpose(2, 0, 1)
