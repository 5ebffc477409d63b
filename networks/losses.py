"""The training loss, and a trained network to learn from."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from data.training.datasets import Sample
from networks.folding import fold
from networks.weights.checkpoint import load_network
from networks.weights.info import CheckpointInfo
from utils.devices import autocast
from utils.label_values import SOME_CLOTHES, UNKNOWN


class Teacher:
    """Weights whose predictions a network in training learns to give as well."""

    def __init__(self, path: str, student: CheckpointInfo, device: torch.device, precision: str):
        """student: what is trained; it must have the classes and the normalisation of the file. Raises UserError."""
        network, info = load_network(path)
        info.check_like(student, f"--teacher {path}")
        fold(network)
        self.network = network.to(device, memory_format=torch.channels_last).requires_grad_(False)
        self.precision = precision

    @torch.no_grad()
    def __call__(self, images: Tensor, trust: Tensor) -> Tensor:
        """Logits of the fused map, N x C x h x w float32; 0 for samples of trust 0, which are not computed.

        images: N x 3 x h x w, normalised. trust: N floats.
        """
        chosen = trust > 0
        logits = images.new_zeros(len(images), self.network.outconv.out_channels, *images.shape[2:])
        if chosen.any():
            with autocast(images.device, self.precision):
                logits[chosen] = self.network.fused(images[chosen]).float()
        return logits


@dataclass(frozen=True)
class TrainingLoss:
    """Weighted loss of every output map: fused * d0 + side * (d1 + ... + d6).

    A map's loss is its cross-entropy, plus the absent-class loss, plus iou * the soft IoU loss, plus distillation * the
    distillation loss where there is a teacher. class_weights: C floats, of the cross-entropy.
    With every pixel known, every sample trusted and no teacher it is the published loss: deep supervision as in
    Qin et al. 2020, sec. 3.3, with the weights of the published clothes training.
    """

    class_weights: Tensor
    fused: float = 1.5
    side: float = 1.0
    iou: float = 0.0
    distillation: float = 1.0
    teacher: Teacher | None = None

    def __call__(self, outputs: Sequence[Tensor], sample: Sample) -> tuple[Tensor, list[Tensor]]:
        """The total (scalar) and the seven losses before they are weighted.

        outputs: d0..d6, each N x C x H x W logits. sample: a batch.
        """
        image, label, trust, present, teacher_trust = sample
        teacher_logits = self.teacher(image, teacher_trust) if self.teacher else None
        restricted = not bool(present.all())  # else the absent-class loss is 0 everywhere
        clothes = present & (torch.arange(present.shape[1], device=present.device) > 0)  # candidates of SOME_CLOTHES
        candidates = clothes if bool((label == SOME_CLOTHES).any()) else None
        losses = []
        for output in outputs:
            logits = output.float()
            loss = cross_entropy(logits, label, trust, self.class_weights, candidates)
            if restricted:
                loss = loss + absent_class_loss(logits, label, trust, present)
            if self.iou:
                loss = loss + self.iou * soft_iou_loss(logits, label, trust)
            if teacher_logits is not None:
                loss = loss + self.distillation * distillation_loss(logits, teacher_logits, teacher_trust)
            losses.append(loss)
        return self.fused * losses[0] + self.side * sum(losses[1:]), losses


def cross_entropy(
    logits: Tensor, label: Tensor, trust: Tensor, class_weights: Tensor, candidates: Tensor | None = None
) -> Tensor:
    """sum over known pixels of trust * w[label] * -log p[label], over the sum of w[label]: scalar.

    A pixel labelled SOME_CLOTHES is known too. Its p is the sum of p over the ``candidates`` (N x C bool), and its w
    is their mean w. This is the likelihood of exactly what is known of it (Jin and Ghahramani, "Learning with multiple
    labels", NIPS 2002, with equal priors). Without candidates, no pixel is labelled so.

    The ``trust`` of a sample is not in the denominator: samples that are trusted less count for less. A batch without a
    known pixel, or with none whose class has a weight, has nothing to learn from and gives 0.
    label: N x H x W int64 in 0..C-1, UNKNOWN or SOME_CLOTHES. trust: N floats in 0..1. class_weights: C.
    """
    classes = logits.shape[1]
    hard = label < classes
    loss = F.cross_entropy(logits, label.where(hard, UNKNOWN), class_weights, ignore_index=UNKNOWN, reduction="none")
    pixel_weight = class_weights[label.where(hard, 0)] * hard  # N x H x W
    if candidates is not None:
        mean_weight = (candidates * class_weights).sum(1) / candidates.sum(1).clamp(min=1)  # N
        some_weight = mean_weight[:, None, None] * (label == SOME_CLOTHES)
        loss = loss + some_weight * -log_sum(logits, candidates)
        pixel_weight = pixel_weight + some_weight
    total = pixel_weight.sum()
    return (loss * trust[:, None, None]).sum() / total.where(total > 0, 1)


def absent_class_loss(logits: Tensor, label: Tensor, trust: Tensor, present: Tensor) -> Tensor:
    """Mean over unknown pixels of trust * -log(sum of p over the classes that can be there): scalar.

    An unknown pixel of a photo with tags belongs to one of its tagged classes or to the background. This is the
    likelihood of exactly that; it is 0 where every class can be there, and for a batch without unknown pixels.
    present: N x C bool, the classes that each photo can contain. Source: as for SOME_CLOTHES in cross_entropy.
    """
    unknown = label == UNKNOWN
    return -(log_sum(logits, present) * unknown * trust[:, None, None]).sum() / unknown.sum().clamp(min=1)


def log_sum(logits: Tensor, classes: Tensor) -> Tensor:
    """log of the sum of p over some classes: N x H x W. logits: N x C x H x W. classes: N x C bool.

    Where a row of ``classes`` is empty it is 0: a statement about no class says nothing.
    """
    chosen = classes | ~classes.any(1, keepdim=True)
    return logits.log_softmax(1).masked_fill(~chosen[:, :, None, None], -torch.inf).logsumexp(1)


def soft_iou_loss(logits: Tensor, label: Tensor, trust: Tensor) -> Tensor:
    """1 - IoU of the probabilities, pooled over the batch, mean of the classes that its labels have: scalar in 0..1.

    Only pixels whose class is known count, each as much as its sample is trusted; without any the loss is 0.
    Source: Rahman and Wang, "Optimizing intersection-over-union in deep neural networks
    for image segmentation" (ISVC 2016).
    """
    known = label < logits.shape[1]
    counts = (known * trust[:, None, None])[:, None]  # N x 1 x H x W
    truth = F.one_hot(label.where(known, 0), logits.shape[1]).movedim(-1, 1) * counts  # N x C x H x W
    probability = logits.softmax(1) * counts
    pixels = truth.sum((0, 2, 3))
    hits = (probability * (truth > 0)).sum((0, 2, 3))
    union = probability.sum((0, 2, 3)) + pixels - hits
    seen = pixels > 0
    loss = 1 - hits / union.where(seen, 1)
    return (loss * seen).sum() / seen.sum().clamp(min=1)


def distillation_loss(logits: Tensor, teacher: Tensor, trust: Tensor) -> Tensor:
    """Mean over pixels of trust * KL(q || p), with q the teacher's probabilities: scalar, 0 where both agree.

    logits, teacher: N x C x H x W. trust: N floats. Source: Hinton, Vinyals and Dean, "Distilling the knowledge in a
    neural network" (2015), with temperature 1.
    """
    divergence = F.kl_div(logits.log_softmax(1), teacher.log_softmax(1), reduction="none", log_target=True).sum(1)
    return (divergence * trust[:, None, None]).mean()
