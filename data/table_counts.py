"""What a label table holds, counted: rows and their faults, categories, classes, overlaps."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np

from data.image_folder import find_photos
from data.imaterialist_table import LabelTable, Photos, SkippedRows, read_rows


@dataclass
class RowCounts:
    """What the rows of a table hold, before any choice of classes."""

    rows: int = 0
    of_category: Counter[int] = field(default_factory=Counter)
    photos_of_category: Counter[int] = field(default_factory=Counter)
    bad: SkippedRows = field(default_factory=SkippedRows)
    named: list[Path] = field(default_factory=list)  # photographs that any row names
    without_file: list[Path] = field(default_factory=list)


@dataclass
class ClassCounts:
    """What the classes cover, in pixels of all photographs together.

    covered, photos: by label value. overlap_pixels, overlap_photos: by pair of label values.
    """

    pixels: int
    covered: np.ndarray
    photos: np.ndarray
    overlap_pixels: Counter[tuple[int, int]]
    overlap_photos: Counter[tuple[int, int]]
    without_clothes: int


def count_rows(df_path: str, image_folder: str, known_ids: set[int]) -> RowCounts:
    """Count every row by category, or by the first fault found in it."""
    photos, counts = Photos(image_folder), RowCounts()
    seen: set[tuple[str, int]] = set()
    ids: dict[str, None] = {}  # in the table's order
    for row in read_rows(df_path, photos, known_ids, progress=True):
        counts.rows += 1
        ids.setdefault(row.image_id)
        if row.fault:
            counts.bad.add(row.fault, row.row, row.image_id)
            continue
        counts.of_category[row.category] += 1
        counts.photos_of_category[row.category] += (row.image_id, row.category) not in seen
        seen.add((row.image_id, row.category))
    for path, _, fault in map(photos, ids):
        counts.named.append(path)
        if fault == "missing photo":
            counts.without_file.append(path)
    return counts


def photos_without_row(image_folder: str, named: list[Path]) -> list[Path]:
    """Photographs of the folder that no row of the table names."""
    folder = Path(image_folder)
    known = set(named)
    return [path for path in find_photos(folder) if folder / path not in known]


def count_classes(table: LabelTable, classes: int) -> ClassCounts:
    """Pixels of each class and of each pair's overlap, from the run-lengths alone: no mask is drawn."""
    counts = ClassCounts(
        int(table.sizes.long().prod(1).sum()), np.zeros(classes, int), np.zeros(classes, int), Counter(), Counter(), 0
    )
    for photo in range(len(table)):
        runs: dict[int, list[np.ndarray]] = {}
        for value, of_row in table.rows(photo):
            runs.setdefault(value, []).append(of_row)
        masks = {value: np.concatenate(runs[value]) for value in sorted(runs)}
        area = {value: covered(mask) for value, mask in masks.items()}
        for value, pixels in area.items():
            counts.covered[value] += pixels
            counts.photos[value] += pixels > 0
        for a, b in combinations(masks, 2):
            if both := area[a] + area[b] - covered(np.concatenate((masks[a], masks[b]))):
                counts.overlap_pixels[a, b] += both
                counts.overlap_photos[a, b] += 1
        counts.without_clothes += not any(area.values())
    return counts


def covered(runs: np.ndarray) -> int:
    """Pixels that lie in at least one of the runs (R x 2 [begin, end))."""
    runs = runs[np.argsort(runs[:, 0])]
    end = np.maximum.accumulate(runs[:, 1])
    begin = np.maximum(runs[1:, 0], end[:-1])
    return int((end[:1] - runs[:1, 0]).sum() + np.maximum(end[1:] - begin, 0).sum())
