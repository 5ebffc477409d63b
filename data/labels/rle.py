"""Run-lengths of Kaggle's: pairs "start length" of pixels counted down the columns, starts from 1."""

import numpy as np


class LabelError(ValueError):
    """A label that cannot be used. kind: of fault, by which they are counted; detail: the value in question."""

    def __init__(self, kind: str, detail: str = ""):
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind, self.detail = kind, detail


def parse_rle(text: str, height: int, width: int) -> np.ndarray:
    """Runs of a run-length text as R x 2 int32 [begin, end), zero-based, column-major positions.

    Raises LabelError for non-digits, an odd count, or runs that leave a height x width image.
    """
    digits = text.replace(" ", "")
    if not (digits.isascii() and digits.isdigit()):
        raise LabelError("run-lengths that are not digits", repr(text[:40]))
    numbers = np.fromstring(text, dtype=np.int64, sep=" ")  # too large a number saturates, and leaves the image
    if len(numbers) % 2:
        raise LabelError("an odd count of run-lengths", f"{len(numbers)} numbers")
    start, length = numbers[0::2], numbers[1::2]
    area = height * width
    leaves = (start < 1) | (length > area - start + 1)
    if leaves.any():
        first = int(np.argmax(leaves))
        raise LabelError("run-lengths that leave the image", f"{start[first]} {length[first]} of {area} pixels")
    return np.stack((start - 1, start - 1 + length), 1).astype(np.int32)


def sample_positions(source: int, target: int) -> np.ndarray:
    """Source index of each of ``target`` pixels under nearest-neighbour sampling at pixel centres."""
    return ((2 * np.arange(target) + 1) * source) // (2 * target)


def rasterise(runs: np.ndarray, height: int, width: int, size: tuple[int, int]) -> np.ndarray:
    """Mask of runs in a height x width image, sampled nearest at ``size`` = (h, w): h x w bool.

    Exactly the full-size mask sampled at ``sample_positions``, without ever making it. Each sampled
    source pixel has a rank in column-major order, and a run of source pixels covers a run of ranks.
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

    mask = np.zeros(len(columns) * h, bool)
    for begin, end in rank(runs).tolist():
        mask[begin:end] = True
    return mask.reshape(len(columns), h)[column_of].T


def encode_rle(mask: np.ndarray) -> str:
    """Run-length text of an H x W bool mask; the empty mask is the empty text."""
    flat = np.pad(mask.T.ravel(), 1)
    begin, end = np.flatnonzero(flat[1:] != flat[:-1]).reshape(-1, 2).T
    return " ".join(map(str, np.stack((begin + 1, end - begin), 1).ravel().tolist()))
