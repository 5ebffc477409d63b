"""How the learning rate and the weights' moving average change over a run."""

import math

import torch
from torch import Tensor


def learning_rate(done: int, total: int, peak: float, schedule: str, warmup: int) -> float:
    """Learning rate of the step after ``done`` of ``total``: linear warm-up, then constant, cosine or poly down to 0.

    Cosine as in Loshchilov & Hutter 2017 without restarts; poly with power 0.9 as in Chen et al. 2018.
    """
    if done < warmup:
        return peak * (done + 1) / warmup
    part = (done - warmup) / max(1, total - warmup)
    factor = {"constant": 1.0, "cosine": 0.5 * (1 + math.cos(math.pi * part)), "poly": (1 - part) ** 0.9}
    return peak * factor[schedule]


def ema_update(decay: float):
    """Update function for torch's AveragedModel: averaged = d * averaged + (1 - d) * current.

    d grows to ``decay`` as (1 + n) / (10 + n), so that a short run forgets its start.
    """

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + int(count)) / (10 + int(count))))
        else:  # the batch norms' counters
            torch._foreach_copy_(averaged, current)

    return update
