"""Kaggle run-lengths: pairs "start length", starts one-based, pixels counted down the columns."""

import numpy as np


class RunLengthError(ValueError):
    """A run-length text that cannot be used; the message names the kind of fault."""


def parse_rle(text: str, height: int, width: int) -> np.ndarray:
    """Runs of a run-length text as R x 2 int32 [begin, end), zero-based, column-major positions.

    Raises RunLengthError for non-digits, an odd count, or runs that leave a height x width image.
    """
    digits = text.replace(" ", "")
    if not (digits.isascii() and digits.isdigit()):
        raise RunLengthError("run-lengths that are not digits")
    numbers = np.fromstring(text, dtype=np.int64, sep=" ")  # too large a number saturates, and leaves the image
    if len(numbers) % 2:
        raise RunLengthError("an odd count of run-lengths")
    start, length = numbers[0::2], numbers[1::2]
    area = height * width
    if (start < 1).any() or (start > area).any() or (length > area - start + 1).any():
        raise RunLengthError("run-lengths that leave the image")
    return np.stack((start - 1, start - 1 + length), 1).astype(np.int32)


def sample_positions(source: int, target: int) -> np.ndarray:
    """Source index of each of ``target`` pixels under nearest-neighbour sampling at pixel centres."""
    return ((2 * np.arange(target) + 1) * source) // (2 * target)


def rasterise(runs: np.ndarray, height: int, width: int, size: tuple[int, int]) -> np.ndarray:
    """Mask of runs in a height x width image, sampled nearest at ``size`` = (h, w): h x w bool.

    Exactly the full-size mask sampled at ``sample_positions``, without ever making it. Each sampled
    source pixel has a rank in column-major order; a run of source pixels covers a run of ranks, so a
    run is two look-ups whatever its length and however many columns it spans.
    """
    h, w = size
    rows = sample_positions(height, h)
    columns, column_of = np.unique(sample_positions(width, w), return_inverse=True)

    def rank(position: np.ndarray) -> np.ndarray:
        """How many sampled pixels come before a source position."""
        column, row = np.divmod(position, height)
        j = np.searchsorted(columns, column)
        sampled = np.append(columns, -1)[j] == column
        return j * h + np.where(sampled, np.searchsorted(rows, row), 0)

    edges = np.bincount(rank(runs[:, 0]), minlength=len(columns) * h + 1)
    edges -= np.bincount(rank(runs[:, 1]), minlength=len(columns) * h + 1)
    mask = np.cumsum(edges[:-1]) > 0
    return mask.reshape(len(columns), h)[column_of].T


def encode_rle(mask: np.ndarray) -> str:
    """Run-length text of an H x W bool mask; the empty mask is the empty text."""
    flat = np.concatenate(([0], mask.T.reshape(-1).astype(np.int8), [0]))
    change = np.flatnonzero(np.diff(flat))
    start, end = change[0::2], change[1::2]
    return " ".join(map(str, np.stack((start + 1, end - start), 1).reshape(-1)))
