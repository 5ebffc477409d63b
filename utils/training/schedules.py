"""What changes over a training run: learning rate and image size."""

import math


def learning_rate(done: int, total: int, peak: float, schedule: str, warmup: int) -> float:
    """Learning rate of the step after ``done`` of ``total``: linear warm-up, then constant, cosine or poly down to 0.

    Cosine as in Loshchilov & Hutter 2017 without restarts; poly with power 0.9 as in Chen et al. 2018.
    """
    if done < warmup:
        return peak * (done + 1) / warmup
    part = (done - warmup) / max(1, total - warmup)
    factor = {"constant": 1.0, "cosine": 0.5 * (1 + math.cos(math.pi * part)), "poly": (1 - part) ** 0.9}
    return peak * factor[schedule]


def image_size(done: int, total: int, full: tuple[int, int], stages: list[tuple[float, float]]) -> tuple[int, int]:
    """(height, width) of the step after ``done`` of ``total``.

    full: (height, width) of the last stage. stages: (scale, until) of those before it, both in 0..1: until that
    share of the steps is done, images are ``scale`` times as large as ``full``, but at least 32 pixels.
    """
    for scale, until in stages:
        if done < until * total:
            return max(32, round(scale * full[0])), max(32, round(scale * full[1]))
    return full
