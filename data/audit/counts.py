"""What a label table holds, counted: rows and their faults, categories, classes, overlaps."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np

from data.labels.photo_finder import MISSING_PHOTO
from data.labels.table import LabelTable, TableRow
from utils.label_values import UNKNOWN


@dataclass
class RowCounts:
    """What the rows of a table hold, before any choice of classes; ``add`` is shown each row.

    photos: those that any row names, in the table's order, and whether the file is there.
    """

    rows: int = 0
    of_category: Counter[int] = field(default_factory=Counter)
    photos_of_category: dict[int, set[Path]] = field(default_factory=lambda: defaultdict(set))
    photos: dict[Path, bool] = field(default_factory=dict)

    def add(self, row: TableRow) -> None:
        self.rows += 1
        if row.photo.path:
            self.photos[row.photo.path] = row.photo.fault != MISSING_PHOTO
        if row.category is not None:  # else it has a fault, or says that the photo has no clothes
            self.of_category[row.category] += 1
            self.photos_of_category[row.category].add(row.photo.path)


@dataclass
class ClassCounts:
    """What the classes cover, in pixels of all photos together, by label value or pair of label values.

    without_clothes: photos of which nothing is known to be clothes, and not all is unknown.
    """

    pixels: int
    covered: Counter[int] = field(default_factory=Counter)
    photos: Counter[int] = field(default_factory=Counter)
    overlap_pixels: Counter[tuple[int, int]] = field(default_factory=Counter)
    overlap_photos: Counter[tuple[int, int]] = field(default_factory=Counter)
    without_clothes: int = 0


def count_classes(table: LabelTable, classes: int) -> ClassCounts:
    """Pixels of each class and of each pair's overlap, from the run-lengths alone: no mask is drawn."""
    counts = ClassCounts(int(table.sizes.long().prod(1).sum()))
    for photo, pixels in enumerate(table.sizes.long().prod(1).tolist()):
        masks = dict(table.class_masks(photo))
        area = {value: covered(runs) for value, runs in masks.items()}
        unknown = area.pop(UNKNOWN, 0)
        counts.without_clothes += not any(area.values()) and unknown < pixels
        masks = {value: runs for value, runs in masks.items() if value < classes}
        for value in masks:
            counts.covered[value] += area[value]
            counts.photos[value] += area[value] > 0
        for a, b in combinations(masks, 2):
            if both := area[a] + area[b] - covered(np.concatenate((masks[a], masks[b]))):
                counts.overlap_pixels[a, b] += both
                counts.overlap_photos[a, b] += 1
    return counts


def covered(runs: np.ndarray) -> int:
    """Pixels that lie in at least one of the runs (R x 2 [begin, end))."""
    runs = runs[np.argsort(runs[:, 0])]
    end = np.maximum.accumulate(runs[:, 1])
    begin = np.maximum(runs[1:, 0], end[:-1])
    return int((end[:1] - runs[:1, 0]).sum() + np.maximum(end[1:] - begin, 0).sum())
