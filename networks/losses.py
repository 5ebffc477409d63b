"""The training loss."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.errors import UserError


def deep_supervision_loss(
    outputs: Sequence[Tensor],
    label: Tensor,
    class_weights: Tensor | None = None,
    fused_weight: float = 1.5,
    side_weight: float = 1.0,
    iou_weight: float = 0.0,
) -> tuple[Tensor, list[Tensor]]:
    """Weighted loss of every output map: fused_weight * d0 + side_weight * (d1 + ... + d6).

    A map's loss is its cross-entropy, weighted by class, plus iou_weight times its soft IoU loss.
    outputs: d0..d6, each N x C x H x W logits. label: N x H x W int64 in 0..C-1. class_weights: C floats.
    Returns the total (scalar) and the seven losses before they are weighted. Deep supervision as in Qin et al.
    2020, sec. 3.3, with the weights of the published clothes training.
    """
    losses = [F.cross_entropy(output.float(), label, weight=class_weights) for output in outputs]
    if iou_weight:
        losses = [
            loss + iou_weight * soft_iou_loss(output, label) for loss, output in zip(losses, outputs, strict=True)
        ]
    return fused_weight * losses[0] + side_weight * sum(losses[1:]), losses


def soft_iou_loss(logits: Tensor, label: Tensor) -> Tensor:
    """1 - IoU of the probabilities, pooled over the batch, mean of the classes that its labels have.

    logits: N x C x H x W. label: N x H x W int64 in 0..C-1. Scalar in 0..1. Source: Rahman and Wang,
    "Optimizing intersection-over-union in deep neural networks for image segmentation" (ISVC 2016).
    """
    probability = logits.float().softmax(1)
    truth = F.one_hot(label, logits.shape[1]).movedim(-1, 1)  # N x C x H x W
    pixels = truth.sum((0, 2, 3))
    hits = (probability * truth).sum((0, 2, 3))
    union = probability.sum((0, 2, 3)) + pixels - hits
    return 1 - (hits / union)[pixels > 0].mean()


def loss_weights(given: list[float] | None, classes: int) -> Tensor:
    """Loss weight of each class; as published, 1 for background and 1.5 for clothes, unless given. Raises UserError."""
    weights = given or [1.0] + [1.5] * (classes - 1)
    if len(weights) != classes or not all(0 <= weight < math.inf for weight in weights) or max(weights) == 0:
        raise UserError(f"--class_weights needs {classes} numbers, finite, none negative, not all zero; got {given}")
    return torch.tensor(weights)
