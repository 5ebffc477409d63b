"""The training loss."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.labels import UNKNOWN


def deep_supervision_loss(
    outputs: Sequence[Tensor],
    label: Tensor,
    weight: Tensor,
    present: Tensor,
    class_weights: Tensor,
    fused_weight: float = 1.5,
    side_weight: float = 1.0,
    iou_weight: float = 0.0,
) -> tuple[Tensor, list[Tensor]]:
    """Weighted loss of every output map: fused_weight * d0 + side_weight * (d1 + ... + d6).

    A map's loss is its cross-entropy, plus the absent-class loss, plus iou_weight times the soft IoU loss.
    outputs: d0..d6, each N x C x H x W logits. label: N x H x W int64 in 0..C-1 or UNKNOWN. weight: N floats in 0..1,
    how far each sample is trusted. present: N x C bool, the classes that each photo can contain. class_weights: C.
    Returns the total (scalar) and the seven losses before they are weighted. With every pixel known and every weight
    1 it is the published loss: deep supervision as in Qin et al. 2020, sec. 3.3, with the weights of the published
    clothes training.
    """
    restricted = not bool(present.all())  # else the absent-class loss is 0 everywhere
    losses = []
    for output in outputs:
        logits = output.float()
        loss = cross_entropy(logits, label, weight, class_weights)
        if restricted:
            loss = loss + absent_class_loss(logits, label, weight, present)
        if iou_weight:
            loss = loss + iou_weight * soft_iou_loss(logits, label, weight)
        losses.append(loss)
    return fused_weight * losses[0] + side_weight * sum(losses[1:]), losses


def cross_entropy(logits: Tensor, label: Tensor, weight: Tensor, class_weights: Tensor) -> Tensor:
    """sum over known pixels of weight * w[label] * -log p[label], over the sum of w[label]: scalar.

    The trust ``weight`` is not in the denominator: samples that are trusted less count for less. A batch without a
    known pixel, or with none whose class has a weight, has nothing to learn from and gives 0.
    Shapes as in deep_supervision_loss.
    """
    loss = F.cross_entropy(logits, label, class_weights, ignore_index=UNKNOWN, reduction="none")  # N x H x W
    known = label != UNKNOWN
    total = (class_weights[label.where(known, 0)] * known).sum()
    return (loss * weight[:, None, None]).sum() / total.where(total > 0, 1)


def absent_class_loss(logits: Tensor, label: Tensor, weight: Tensor, present: Tensor) -> Tensor:
    """Mean over unknown pixels of weight * -log(sum of p over the classes that can be there): scalar.

    An unknown pixel of a photo with tags belongs to one of its tagged classes or to the background. This is the
    likelihood of exactly that; it is 0 where every class can be there, and for a batch without unknown pixels.
    Shapes as in deep_supervision_loss. Source: Jin and Ghahramani, "Learning with multiple labels" (NIPS 2002), with
    equal priors.
    """
    log_p = logits.log_softmax(1)
    log_p_present = log_p.masked_fill(~present[:, :, None, None], -torch.inf).logsumexp(1)  # N x H x W
    unknown = label == UNKNOWN
    return -(log_p_present * unknown * weight[:, None, None]).sum() / unknown.sum().clamp(min=1)


def soft_iou_loss(logits: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """1 - IoU of the probabilities, pooled over the batch, mean of the classes that its labels have: scalar in 0..1.

    Known pixels alone count, each as much as its sample is trusted; without any the loss is 0. Shapes as in
    deep_supervision_loss. Source: Rahman and Wang, "Optimizing intersection-over-union in deep neural networks for
    image segmentation" (ISVC 2016).
    """
    known = label != UNKNOWN
    counts = (known * weight[:, None, None])[:, None]  # N x 1 x H x W
    truth = F.one_hot(label.where(known, 0), logits.shape[1]).movedim(-1, 1) * counts  # N x C x H x W
    probability = logits.softmax(1) * counts
    pixels = truth.sum((0, 2, 3))
    hits = (probability * (truth > 0)).sum((0, 2, 3))
    union = probability.sum((0, 2, 3)) + pixels - hits
    seen = pixels > 0
    loss = 1 - hits / union.where(seen, 1)
    return (loss * seen).sum() / seen.sum().clamp(min=1)
