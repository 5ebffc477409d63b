"""Compare predictions with the truth: the one evaluation, of train.py and evaluate.py."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image

from utils.errors import UserError
from utils.evaluation.metrics import BoundaryScore, ConfusionMatrix
from utils.process_group import gather, rank, sum_over_ranks, world_size
from utils.training.interruption import Interruption

Predict = Callable[[Image.Image], object]  # photograph -> result with ``labels``, H x W uint8


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
        return [photo for photo in self.photos.values() if photo.pixels[0].any() and not photo.pixels[1:].any()]

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

    photos: (index, photo, label map H x W uint8 with values below ``classes``, SOME_CLOTHES or UNKNOWN). boundary:
    whether to take the boundary score, which costs more than the rest. stop: asked after each photo; True ends it
    early.
    """
    result = Evaluation(ConfusionMatrix(classes), BoundaryScore(classes) if boundary else None)
    for index, photo, truth in photos:
        labels = predict(photo).labels
        matrix = ConfusionMatrix(classes)
        matrix.update(truth, labels)
        result.photos[index] = matrix
        result.matrix.pixels += matrix.pixels
        if result.boundary:
            result.boundary.update(truth, labels)
        if stop():
            break
    return result


def pooled_over_ranks(result: Evaluation) -> Evaluation:
    """The evaluation of all ranks' photographs together, each of which took its share of them."""
    for score in filter(None, (result.matrix, result.boundary)):
        for name, counts in vars(score).items():
            setattr(score, name, sum_over_ranks(counts, torch.device("cpu")))
    photos = gather(result.photos)
    result.photos = dict(sorted(item for share in photos for item in share.items()))
    return result


def validate(predictor, photos, device: torch.device, interruption: Interruption) -> dict[str, float]:
    """IoU of each class and their means during training, over the ranks' shares of the photographs.

    Where no photo has clothes it is the share of pixels called clothes instead, and its complement as ``miou``.
    predictor: Predict, with ``class_names``. photos: has ``load``, which gives what ``evaluate`` takes. An
    interruption ends it early. Raises UserError where nothing can be compared.
    """
    names = predictor.class_names
    share = photos.load(range(rank(), len(photos), world_size()))
    result = evaluate(predictor, share, len(names), False, lambda: interruption.noted)
    result.matrix.pixels = sum_over_ranks(result.matrix.pixels, device)
    if not result.matrix.counts.any() and not interruption.on_any_rank(device):
        raise UserError(f"none of the {len(photos)} validation photographs can be compared; check --val_image_folder")
    if not result.matrix.pixels[1:].any():
        correct = result.matrix.pixel_accuracy()
        return {"false_alarm": 1 - correct, "miou": correct}
    ious = {f"iou_{name}": iou for name, iou in zip(names, result.matrix.iou().tolist(), strict=True)}
    return ious | result.means()


def validate_all(predictor, sets: dict, device: torch.device, interruption: Interruption) -> dict[str, float]:
    """``validate`` of each set, behind its name; of several sets also the mean ``miou``. Raises UserError."""
    metrics = {}
    for name, photos in sets.items():
        of_set = validate(predictor, photos, device, interruption)
        metrics |= {f"{name}/{figure}" if name else figure: value for figure, value in of_set.items()}
    if "miou" not in metrics:
        metrics["miou"] = sum(metrics[f"{name}/miou"] for name in sets) / len(sets)
    return metrics
