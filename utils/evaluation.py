"""Compare predictions with the truth: the one evaluation, of train.py and evaluate.py."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from utils.metrics import BoundaryScore, ConfusionMatrix

Predict = Callable[[list[Image.Image]], list]  # photographs -> results with ``labels``, H x W uint8 each


@dataclass
class Evaluation:
    """What a predictor did: pooled over all photographs, and the confusion matrix of each by its index."""

    matrix: ConfusionMatrix
    boundary: BoundaryScore | None
    photos: dict[int, ConfusionMatrix] = field(default_factory=dict)

    def means(self) -> dict[str, float]:
        """Mean IoU of all classes, mean IoU of the clothes, and IoU of clothes against rest; NaN where undefined."""
        return {
            "miou": self.matrix.mean_iou(),
            "miou_clothes": self.matrix.mean_foreground_iou(),
            "clothes_iou": self.matrix.foreground_iou(),
        }

    def without_clothes(self) -> list[ConfusionMatrix]:
        """Those of the photographs on which the truth knows background alone."""
        return [photo for photo in self.photos.values() if photo.counts[0].any() and not photo.counts[1:].any()]

    def false_alarm(self) -> float:
        """Share of the pixels of the photographs without clothes that are called clothes; NaN where there are none."""
        counts = sum((photo.counts[0] for photo in self.without_clothes()), np.zeros(len(self.matrix.counts), int))
        return float(counts[1:].sum() / counts.sum()) if counts.any() else float("nan")


def evaluate(
    predict: Predict,
    photos: Iterable[tuple[int, Image.Image, np.ndarray]],
    classes: int,
    boundary: bool = True,
    stop: Callable[[], bool] = lambda: False,
) -> Evaluation:
    """Predict photographs and compare each with its truth at its own size.

    photos: (index, photo, label map H x W uint8 with values below ``classes`` or UNKNOWN). boundary: whether to take
    the boundary score, which costs more than the rest. stop: asked after each photo; True ends it early.
    """
    result = Evaluation(ConfusionMatrix(classes), BoundaryScore(classes) if boundary else None)
    for index, photo, truth in photos:
        labels = predict([photo])[0].labels
        matrix = ConfusionMatrix(classes)
        matrix.update(truth, labels)
        result.photos[index] = matrix
        result.matrix.counts += matrix.counts
        if result.boundary:
            result.boundary.update(truth, labels)
        if stop():
            break
    return result
