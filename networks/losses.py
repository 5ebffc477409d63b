"""The training loss."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def deep_supervision_loss(
    outputs: Sequence[Tensor],
    label: Tensor,
    class_weights: Tensor | None = None,
    fused_weight: float = 1.5,
    side_weight: float = 1.0,
) -> tuple[Tensor, list[Tensor]]:
    """Weighted cross-entropy of every output map: fused_weight * d0 + side_weight * (d1 + ... + d6).

    outputs: d0..d6, each N x C x H x W logits. label: N x H x W int64 in 0..C-1. class_weights: C floats.
    Returns the total (scalar) and the seven unweighted losses. Deep supervision as in Qin et al. 2020,
    sec. 3.3, with the weights of the published clothes training.
    """
    losses = [F.cross_entropy(output.float(), label, weight=class_weights) for output in outputs]
    return fused_weight * losses[0] + side_weight * sum(losses[1:]), losses
