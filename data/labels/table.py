"""The labels of a data set, packed: photographs and the class masks on them, whatever file they came from."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from data.labels.photo_finder import Fit, FoundPhoto
from data.labels.rle import rasterise
from utils.errors import UserError

Mask = tuple[int, np.ndarray]  # (class, runs as parse_rle gives them)


@dataclass
class TableRow:
    """One row of a label table, whatever file it came from, checked.

    row: counts from 1. photo: where the file is or should be, and ``photo_fault`` what is wrong with it. category,
    runs: None where there is a ``fault``, which says what is wrong with the row (``detail``: more of it), and in a
    row that says that its photo has no clothes. stated, fit: the size that the runs count pixels of, and how the
    photo goes with them; None where there is a fault.
    """

    row: int
    image_id: str
    photo: Path
    photo_fault: str | None
    category: int | None = None
    runs: np.ndarray | None = None
    fault: str | None = None
    detail: str = ""
    stated: tuple[int, int] | None = None
    fit: Fit | None = None

    @classmethod
    def of(cls, number: int, image_id: str, photo: FoundPhoto) -> "TableRow":
        return cls(number, image_id, photo.path, photo.fault, fault=photo.fault, detail=photo.detail)


@dataclass
class SkippedRows:
    """Rows that cannot be used, by kind of fault. unit: what a row of the file is called."""

    count: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    unit: str = "row"

    def add(self, kind: str, row: int, image_id: str, detail: str = "") -> None:
        self.count[kind] = self.count.get(kind, 0) + 1
        self.first.setdefault(kind, f"{self.unit} {row}, {image_id}" + (f": {detail}" if detail else ""))

    def lines(self) -> list[str]:
        return [f"skipped {n} {self.unit}(s): {kind} (first: {self.first[kind]})" for kind, n in self.count.items()]


@dataclass
class LabelTable:
    """Photographs and the masks on them, in flat tensors.

    Tensors, because loader workers share them: forked workers by the pages of their parent, spawned ones
    by shared memory. A data frame or a list of a few 100,000 Python objects would be copied to each.

    files: path of each of P photographs. sizes: P x 2 int32 (height, width) that its run-lengths count pixels of.
    row_offsets: P + 1 int64, photo p owns rows row_offsets[p] to row_offsets[p + 1]. class_of_row: R uint8, a class,
    SOME_CLOTHES or UNKNOWN; background rows are left out. run_offsets: R + 1 int64 into runs. runs: N x 2 int32, see
    parse_rle. skipped: rows that could not be used. photo_sizes: P x 2 int32 (height, width) of the photo as it is
    opened, another scale of ``sizes``; default: the same. upright: P bool, whether its EXIF rotation is applied then;
    default: never. unsettled: how many photographs have a rotation that the size does not settle. categories: (name,
    class) by the file's own category number. notes: what else the user should know of how the file was read.
    """

    files: list[Path]
    sizes: Tensor
    row_offsets: Tensor
    class_of_row: Tensor
    run_offsets: Tensor
    runs: Tensor
    skipped: SkippedRows
    photo_sizes: Tensor | None = None
    upright: Tensor | None = None
    unsettled: int = 0
    categories: dict[int, tuple[str, int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self):
        if self.photo_sizes is None:
            self.photo_sizes = self.sizes
        if self.upright is None:
            self.upright = torch.zeros(len(self.files), dtype=torch.bool)

    @classmethod
    def pack(
        cls, photos: Iterable[tuple[Path, tuple[int, int], list[Mask]]], skipped: SkippedRows | None = None, **more
    ) -> "LabelTable":
        """Table of (path, (height, width) that the runs count, masks) of each photo. more: the fields behind
        ``skipped``."""
        photos = list(photos)
        masks = [mask for _, _, masks_of_photo in photos for mask in masks_of_photo]
        return cls(
            files=[path for path, _, _ in photos],
            sizes=_pairs(size for _, size, _ in photos),
            row_offsets=_offsets(len(masks_of_photo) for _, _, masks_of_photo in photos),
            class_of_row=torch.tensor([value for value, _ in masks], dtype=torch.uint8),
            run_offsets=_offsets(len(runs) for _, runs in masks),
            runs=torch.from_numpy(np.concatenate([runs for _, runs in masks] or [np.empty((0, 2), np.int32)])),
            skipped=skipped or SkippedRows(),
            **more,
        )

    @classmethod
    def collect(
        cls,
        rows: Iterable[TableRow],
        categories: dict[int, tuple[str, int]],
        source: str,
        max_photos: float = math.inf,
        watch: Callable[[TableRow], None] | None = None,
        unit: str = "row",
    ) -> "LabelTable":
        """The usable rows of a file, photographs in the order of their first one.

        A photo whose rows say that it has no clothes is kept without masks. A photo is left out where it has no usable
        row, or where such a row stands beside ones that cannot be used: it has clothes, but nobody knows where.
        source: what to call the file. max_photos: stop after that many. watch: is shown every row. unit: what a row is
        called. Raises UserError when nothing is usable.
        """
        skipped = SkippedRows(unit=unit)
        masks: dict[Path, list[Mask]] = {}
        placed: dict[Path, tuple[tuple[int, int], Fit]] = {}  # (stated size, fit) of photographs with labels
        empty: dict[Path, tuple[tuple[int, int], Fit]] = {}  # and of those that a row says have no clothes
        incomplete: set[Path] = set()
        for row in rows:
            if row.runs is not None and placed.get(row.photo, (row.stated,))[0] != row.stated:
                row.category, row.runs, row.fault = None, None, "Height and Width that differ from an earlier row's"
            if watch:
                watch(row)
            if row.fault:
                skipped.add(row.fault, row.row, row.image_id, row.detail)
                incomplete.add(row.photo)
                continue
            if row.photo not in masks:
                if len(masks) >= max_photos:
                    continue
                masks[row.photo] = []
            (empty if row.runs is None else placed).setdefault(row.photo, (row.stated, row.fit))
            if row.runs is not None and (value := categories[row.category][1]):
                masks[row.photo].append((value, row.runs))
        usable = [path for path in masks if path in placed or path not in incomplete]
        if not usable:
            reason = "; ".join(skipped.lines()) or f"it has no {unit}s"
            raise UserError(f"nothing usable in {source}: {reason}")
        where = {path: placed.get(path) or empty[path] for path in usable}
        return cls.pack(
            ((path, where[path][0], masks[path]) for path in usable),
            skipped,
            photo_sizes=_pairs(where[path][1].size for path in usable),
            upright=torch.tensor([where[path][1].upright for path in usable]),
            unsettled=sum(not where[path][1].settled for path in usable),
            categories=categories,
        )

    def __len__(self) -> int:
        return len(self.files)

    def size(self, photo: int) -> tuple[int, int]:
        """(height, width) of a photo as it is opened."""
        return tuple(self.photo_sizes[photo].tolist())

    def lines(self) -> list[str]:
        """What the user should know: how the file was read, what was skipped, and photographs unlike their labels."""
        resized = int((self.photo_sizes != self.sizes).any(1).sum())
        upright = int(self.upright.sum())
        lines = [*self.notes, *self.skipped.lines()]
        if resized:
            lines.append(f"{resized} photographs are of another size than their labels, which are scaled to it")
        if upright:
            lines.append(f"{upright} photographs are turned as EXIF says, which gives them the shape of their labels")
        if self.unsettled:
            lines.append(
                f"{self.unsettled} photographs have an EXIF rotation that the table's size does not settle; "
                "labels are taken as drawn on the stored photo"
            )
        return lines

    def masks(self, photo: int) -> Iterator[Mask]:
        """(class, runs) of each row of a photo."""
        for row in range(int(self.row_offsets[photo]), int(self.row_offsets[photo + 1])):
            begin, end = self.run_offsets[row : row + 2].tolist()
            yield int(self.class_of_row[row]), self.runs[begin:end].numpy()

    def class_masks(self, photo: int) -> list[Mask]:
        """(class, runs of all its rows) of each class on a photo, in order of precedence."""
        runs_of_class: dict[int, list[np.ndarray]] = {}
        for value, runs in self.masks(photo):
            runs_of_class.setdefault(value, []).append(runs)
        return [(value, np.concatenate(runs_of_class[value])) for value in sorted(runs_of_class)]

    def label_map(self, photo: int, size: tuple[int, int] | None = None) -> np.ndarray:
        """Label map of a photo sampled nearest at ``size`` = (h, w), or at the photo's own size: h x w uint8.

        The class that stands first in the class table wins where masks overlap, whatever the rows' order.
        """
        size, stated = size or self.size(photo), self.sizes[photo].tolist()
        by_column = np.zeros(size[::-1], np.uint8)  # as runs go
        for value, runs in reversed(self.class_masks(photo)):
            np.copyto(by_column, value, where=rasterise(runs, *stated, size).T)
        return cv2.transpose(by_column)


def _pairs(sizes: Iterable[tuple[int, int]]) -> Tensor:
    return torch.tensor(list(sizes), dtype=torch.int32).reshape(-1, 2)


def _offsets(lengths: Iterable[int]) -> Tensor:
    return torch.from_numpy(np.cumsum([0, *lengths], dtype=np.int64))
