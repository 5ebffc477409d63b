"""Segmentation metrics from one confusion matrix."""

import numpy as np
import torch
import torch.distributed as dist


class ConfusionMatrix:
    """Pixels by true class (row) and predicted class (column), pooled over all photographs."""

    def __init__(self, classes: int):
        self.counts = np.zeros((classes, classes), np.int64)

    def update(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """truth, prediction: integer arrays of one shape, values below the number of classes."""
        n = len(self.counts)
        pairs = truth.astype(np.int64).ravel() * n + prediction.ravel()
        self.counts += np.bincount(pairs, minlength=n * n).reshape(n, n)

    def reduce(self, device: torch.device) -> None:
        """Sum over the ranks of a distributed run."""
        if dist.is_initialized():
            counts = torch.from_numpy(self.counts).to(device)
            dist.all_reduce(counts)
            self.counts = counts.cpu().numpy()

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

    def mean_clothes_iou(self) -> float:
        """Mean IoU of the classes above background."""
        return _mean(self.iou()[1:])

    def clothes_iou(self) -> float:
        """IoU of all clothes as one class against background."""
        counts = self.counts
        hits = counts[1:, 1:].sum()
        return float(_ratio(hits, counts.sum() - counts[0, 0]))

    def pixel_accuracy(self) -> float:
        return float(_ratio(np.trace(self.counts), self.counts.sum()))


def _ratio(part, whole) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.true_divide(part, whole)


def _mean(values: np.ndarray) -> float:
    """Mean of what is defined; NaN where nothing is."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")
