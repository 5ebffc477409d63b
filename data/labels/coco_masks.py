"""Masks of COCO annotations: polygons and run-lengths, in the spellings that programs write."""

import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
from pycocotools import mask

from data.labels.rle import LabelError

LONGEST_OUTLINE = 1_000_000  # pixels of a polygon; the library's time and memory grow with it
DEEPEST = 4  # lists around the coordinates of a polygon


def runs_of(segmentation: object, height: int, width: int) -> np.ndarray:
    """Runs, as parse_rle gives them, of an annotation's polygons or run-lengths. Raises LabelError."""
    if isinstance(segmentation, str) and segmentation.strip()[:1] in ("[", "{"):  # JSON within JSON
        with suppress(ValueError, RecursionError):
            segmentation = json.loads(segmentation)
    if not segmentation:
        raise LabelError("annotation without a segmentation")
    parts = segmentation if isinstance(segmentation, list) else [segmentation]
    if all(isinstance(part, dict) and "counts" in part for part in parts):
        return np.concatenate([_run_length_runs(part, height, width) for part in parts])
    if isinstance(segmentation, list):
        return _polygon_runs(segmentation, height, width)
    raise LabelError("segmentation that is neither polygons nor run-lengths", repr(segmentation)[:40])


def _run_length_runs(rle: dict, height: int, width: int) -> np.ndarray:
    """Runs of one run-length encoding. Raises LabelError."""
    size, counts = rle.get("size", [height, width]), rle["counts"]
    if not isinstance(size, list) or [to_number(side) for side in size] != [height, width]:
        raise LabelError("run-lengths of another size than the image", repr(size)[:40])
    if isinstance(counts, str):
        if not re.search(r"[\s,]", counts.strip()):
            return _runs(_unpacked(counts.strip().removeprefix("b'").removesuffix("'")), height * width)
        counts = re.split(r"[\s,]+", counts.strip(" []\n"))
    numbers = [to_number(count) for count in counts] if isinstance(counts, list) else [None]
    if not all(number is not None and number >= 0 and number == int(number) for number in numbers):
        raise LabelError("run-lengths that are not numbers", repr(counts)[:40])
    area = height * width
    return _runs(np.array([min(int(number), area + 1) for number in numbers], np.int64), area)  # they may be huge


def _runs(counts: np.ndarray, area: int) -> np.ndarray:
    """From COCO's counts, of pixels outside and inside in turn, down the columns. Raises LabelError."""
    if (counts < 0).any() or counts.sum() != area:
        raise LabelError("run-lengths that do not make up the image")
    edges = np.cumsum(counts)
    end = edges[1::2]
    return np.stack((edges[0::2][: len(end)], end), 1).astype(np.int32)


def _unpacked(text: str) -> np.ndarray:
    """Counts of compressed run-lengths: int64. Raises LabelError.

    Each character holds 5 bits, the lowest first, and whether more follow. From the fourth count on, what is stored is
    the difference from the last but one.
    """
    code = np.frombuffer(text.encode("ascii", "replace"), np.uint8).astype(np.int64) - 48
    last = np.flatnonzero(code & 32 == 0)
    first = np.concatenate(([0], last[:-1] + 1))
    whole = text.isascii() and len(last) and last[-1] == len(code) - 1
    # 7 characters are 35 bits; an image has no more pixels than 31 bits count.
    if not whole or code.min() < 0 or code.max() > 63 or (length := last - first + 1).max() > 7:
        raise LabelError("compressed run-lengths that cannot be unpacked")
    place = np.arange(len(code)) - np.repeat(first, length)
    counts = np.add.reduceat((code & 31) << (5 * place), first)
    counts -= np.where(code[last] & 16, np.left_shift(1, 5 * length), 0)  # the highest bit is the sign
    counts[1::2], counts[2::2] = np.cumsum(counts[1::2]), np.cumsum(counts[2::2])
    return counts


def _polygon_runs(polygons: list, height: int, width: int) -> np.ndarray:
    """Runs of the union of polygons in pixels. Raises LabelError.

    Everything is checked before it reaches the library: it hangs on a coordinate that is not a number, crashes on a
    huge one, and takes a ring of four numbers for a box.
    """
    size = np.array([width, height])
    rings = [_points(ring) for ring in _rings(polygons)]
    for ring in rings:
        within = ((ring >= -size) & (ring <= 2 * size)).all(1)  # not a number is not within either
        if not within.all():
            x, y = ring[np.argmin(within)].tolist()
            raise LabelError("polygon that lies far outside the image", f"x {x:g}, y {y:g}")
    rings = [ring for ring in rings if len(ring) >= 3]  # the others have no area
    if not rings:
        raise LabelError("polygon of fewer than three points")
    points = np.concatenate(rings)
    low, high = points.min(0), points.max(0)
    if (low >= -0.5).all() and (high <= 1.5).all() and max(height, width) > 2:
        raise LabelError("polygon in shares of the image, 0 to 1, instead of pixels")
    if not ((low + high >= 0) & (low + high <= 2 * size)).all():
        raise LabelError("polygon that lies mostly outside the image", f"x and y from {low} to {high}")
    if sum(np.abs(np.diff(ring, axis=0, append=ring[:1])).max(1).sum() for ring in rings) > LONGEST_OUTLINE:
        raise LabelError(f"polygon with an outline of more than {LONGEST_OUTLINE} pixels")
    merged = mask.merge(mask.frPyObjects([ring.ravel().tolist() for ring in rings], height, width))
    return _runs(_unpacked(merged["counts"].decode("ascii")), height * width)


def _rings(polygons: object, depth: int = 0) -> Iterator[list]:
    """The rings of polygons, in however many lists: each a list of numbers, of pairs, or of {"x", "y"}."""
    if not isinstance(polygons, list) or depth > DEEPEST:
        raise LabelError("polygon that is not a list of numbers")
    pairs = [[part.get("x"), part.get("y")] if isinstance(part, dict) else part for part in polygons]
    if (
        not any(isinstance(part, list) for part in pairs)
        or len(pairs) > 2
        and all(isinstance(p, list) and len(p) == 2 and not isinstance(p[0], list) for p in pairs)
    ):
        yield pairs
    else:
        for part in pairs:
            yield from _rings(part, depth + 1)


def _points(ring: list) -> np.ndarray:
    """Points of a ring: P x 2 float64 (x, y). Raises LabelError."""
    try:
        numbers = np.array(ring, np.float64).ravel()
    except (TypeError, ValueError, OverflowError):
        raise LabelError("polygon that is not a list of numbers", repr(ring)[:40]) from None
    if len(numbers) % 2:
        raise LabelError("polygon of an odd count of numbers")
    return numbers.reshape(-1, 2)


def highest_coordinate(segmentation: object) -> float:
    """Of an annotation's polygons, in the units of the file; 0 where there are none."""
    try:
        return max(_points(ring).max() for ring in _rings(segmentation))
    except (LabelError, ValueError):
        return 0.0


def to_number(value: object) -> int | float | None:
    """A finite number that is written as number or as text."""
    if (
        isinstance(value, str)
        and len(value) < 40
        and re.fullmatch(r"\s*[+-]?\d+(\.\d*)?([eE][+-]?\d+)?\s*", value, re.A)
    ):
        value = int(value) if value.strip().lstrip("+-").isdigit() else float(value)
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return value
    return None
