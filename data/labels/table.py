"""The labels of a data set, packed: photos and the class masks on them, whatever file they came from."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from data.labels.photo_finder import UNREADABLE_PHOTO, Fit, FoundPhoto, fit
from data.labels.rle import LabelError, rasterise
from utils.errors import UserError, escape_unprintable

Mask = tuple[int, np.ndarray]  # (class, runs as parse_rle gives them)


@dataclass
class TableRow:
    """One row of a label table, whatever file it came from, checked.

    number: counts from 1. category, runs: None where there is a ``fault``, which says what is wrong with the row or
    its photo (``detail``: more of it), and in a row that says that its photo has no clothes. label_size: (height,
    width) of the image that the runs count pixels of. fit: how the photo goes with them. Both are None where there is
    a fault.
    """

    number: int
    image_id: str
    photo: FoundPhoto
    category: int | None = None
    runs: np.ndarray | None = None
    label_size: tuple[int, int] | None = None
    fit: Fit | None = None
    fault: str | None = None
    detail: str = ""

    @classmethod
    def checked(cls, number: int, image_id: str, photo: FoundPhoto, fill: Callable[["TableRow"], None]) -> "TableRow":
        """A row of a photo. ``fill`` completes it, or raises LabelError; a photo's own fault comes first."""
        row = cls(number, image_id, photo, fault=photo.fault, detail=photo.detail)
        if not row.fault:
            try:
                fill(row)
            except LabelError as error:
                row.reject(error.kind, error.detail)
        return row

    def reject(self, fault: str, detail: str = "") -> None:
        self.category = self.runs = self.label_size = self.fit = None
        self.fault, self.detail = fault, detail

    def has_no_clothes(self) -> None:
        """The row says that its photo has none."""
        self.label_size, self.fit = self.photo.size, Fit(self.photo.size)

    def place(self, label_size: tuple[int, int], fault: str, source: str) -> None:
        """Labels are drawn on label_size = (height, width) pixels. Raises LabelError where the photo does not fit.

        source: who gives this size, for the message.
        """
        self.label_size, self.fit = label_size, fit(self.photo, label_size)
        if not self.fit:
            (height, width), (photo_height, photo_width) = label_size, self.photo.size
            raise LabelError(fault, f"{source} {width}x{height}, the photo has {photo_width}x{photo_height}")


class LabelReader(Protocol):
    """Labels of one format.

    unit: what one of its rows is called. grouped: whether rows of one photo follow each other. categories: (name,
    class) by the file's own category number.
    """

    unit: str
    grouped: bool
    categories: dict[int, tuple[str, int]]

    def rows(self, progress: bool) -> Iterator[TableRow]:
        """Every row, with its runs or with the first fault found in it. progress: show a bar. Raises UserError."""

    def notes(self, masks: Counter[int]) -> list[str]:
        """What the user should know, after the last row was read, of how the labels were read.

        masks: how many usable rows each category has. Raises UserError where they must not be trained on.
        """


@dataclass
class SkippedRows:
    """Rows that cannot be used, by fault. unit: what a row of the file is called. unreadable: why, by photo."""

    count: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    unit: str = "row"
    unreadable: dict[Path, str] = field(default_factory=dict)

    def add(self, row: TableRow) -> None:
        if row.fault == UNREADABLE_PHOTO:
            self.unreadable[row.photo.path] = row.detail
        self.count[row.fault] = self.count.get(row.fault, 0) + 1
        detail = f": {row.detail}" if row.detail else ""
        self.first.setdefault(row.fault, escape_unprintable(f"{self.unit} {row.number}, {row.image_id}{detail}"))

    def lines(self) -> list[str]:
        return [f"skipped {n} {self.unit}(s): {kind} (first: {self.first[kind]})" for kind, n in self.count.items()]


@dataclass
class LabelTable:
    """Photos and the masks on them, in flat tensors.

    Tensors, because loader workers share them: forked workers by the pages of their parent, spawned ones
    by shared memory. A data frame or a list of a few 100,000 Python objects would be copied to each.

    files: path of each of P photos. sizes: P x 2 int32 (height, width) that its run-lengths count pixels of.
    row_offsets: P + 1 int64, photo p owns rows row_offsets[p] to row_offsets[p + 1]. class_of_row: R uint8, a class,
    SOME_CLOTHES or UNKNOWN; background rows are left out. run_offsets: R + 1 int64 into runs. runs: N x 2 int32, see
    parse_rle. skipped: rows that could not be used. photo_sizes: P x 2 int32 (height, width) of the photo as it is
    opened, another scale of ``sizes``. upright: P bool, whether its EXIF rotation is applied then. uncertain: how many
    photos have a rotation that the size does not decide. categories: (name, class) by the file's own category number.
    notes: what else the user should know of how the file was read.
    """

    files: list[Path]
    sizes: Tensor
    row_offsets: Tensor
    class_of_row: Tensor
    run_offsets: Tensor
    runs: Tensor
    photo_sizes: Tensor
    upright: Tensor
    skipped: SkippedRows = field(default_factory=SkippedRows)
    uncertain: int = 0
    categories: dict[int, tuple[str, int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def pack(cls, photos: Iterable[tuple[Path, tuple[int, int], list[Mask]]]) -> "LabelTable":
        """Table of (path, (height, width) that the runs count, masks) of photos that are opened as they are stored."""
        photos = list(photos)
        sizes = _pairs(size for _, size, _ in photos)
        masks = [mask for _, _, masks_of_photo in photos for mask in masks_of_photo]
        return cls(
            files=[path for path, _, _ in photos],
            sizes=sizes,
            row_offsets=_offsets(len(masks_of_photo) for _, _, masks_of_photo in photos),
            class_of_row=torch.tensor([value for value, _ in masks], dtype=torch.uint8),
            run_offsets=_offsets(len(runs) for _, runs in masks),
            runs=torch.from_numpy(np.concatenate([runs for _, runs in masks] or [np.empty((0, 2), np.int32)])),
            photo_sizes=sizes,
            upright=torch.zeros(len(photos), dtype=torch.bool),
        )

    @classmethod
    def collect(
        cls,
        reader: LabelReader,
        source: str,
        max_photos: float = math.inf,
        progress: bool = False,
        on_row: Callable[[TableRow], None] | None = None,
    ) -> "LabelTable":
        """The usable rows of a reader, photos in the order of their first one.

        A photo whose rows say that it has no clothes is kept without masks. A photo is left out where it has no usable
        row, or where such a row stands beside ones that cannot be used: it has clothes, but nobody knows where.
        source: what to call the labels. max_photos: stop after that many. on_row: is shown every row. Raises UserError
        when nothing is usable.
        """
        skipped = SkippedRows(unit=reader.unit)
        first: dict[Path, TableRow] = {}  # of each photo, the row that says how labels lie on it: one with runs, if any
        masks: dict[Path, list[Mask]] = defaultdict(list)
        incomplete: set[Path] = set()
        masks_of_category: Counter[int] = Counter()
        for row in reader.rows(progress):
            path, has_runs = row.photo.path, row.runs is not None
            known = first.get(path)
            if reader.grouped and not known and len(first) >= max_photos:
                break
            if has_runs and known and known.runs is not None and row.label_size != known.label_size:
                row.reject("Height and Width that differ from an earlier row's")
            if on_row:
                on_row(row)
            if row.fault:
                skipped.add(row)
                incomplete.add(path)
                continue
            if has_runs:
                masks_of_category[row.category] += 1
            if not known and len(first) >= max_photos:
                continue
            if not known or (has_runs and known.runs is None):
                first[path] = row
            if has_runs and (value := reader.categories[row.category][1]):
                masks[path].append((value, row.runs))
        usable = {path: row for path, row in first.items() if row.runs is not None or path not in incomplete}
        if not usable:
            reason = "; ".join(skipped.lines()) or f"it has no {reader.unit}s"
            raise UserError(f"nothing usable in {source}: {reason}")
        fits = [row.fit for row in usable.values()]
        return replace(
            cls.pack((path, row.label_size, masks[path]) for path, row in usable.items()),
            skipped=skipped,
            photo_sizes=_pairs(fit.size for fit in fits),
            upright=torch.tensor([fit.upright for fit in fits]),
            uncertain=sum(not fit.certain for fit in fits),
            categories=reader.categories,
            notes=reader.notes(masks_of_category),
        )

    def __len__(self) -> int:
        return len(self.files)

    def size(self, photo: int) -> tuple[int, int]:
        """(height, width) of a photo as it is opened."""
        return tuple(self.photo_sizes[photo].tolist())

    def lines(self) -> list[str]:
        """What the user should know: how the file was read, what was skipped, and photos unlike their labels."""
        resized = int((self.photo_sizes != self.sizes).any(1).sum())
        upright = int(self.upright.sum())
        lines = [*self.notes, *self.skipped.lines()]
        if resized:
            lines.append(f"{resized} photos are of another size than their labels, which are scaled to it")
        if upright:
            lines.append(f"{upright} photos are turned as EXIF says, which gives them the shape of their labels")
        if self.uncertain:
            lines.append(
                f"{self.uncertain} photos have an EXIF rotation that the size of the labels does not decide; "
                "labels are taken as drawn on the stored photo"
            )
        return lines

    def class_masks(self, photo: int) -> list[Mask]:
        """(class, runs of all its rows) of each class on a photo, in order of precedence."""
        runs_of_class: dict[int, list[np.ndarray]] = {}
        for row in range(*self.row_offsets[photo : photo + 2].tolist()):
            begin, end = self.run_offsets[row : row + 2].tolist()
            runs_of_class.setdefault(int(self.class_of_row[row]), []).append(self.runs[begin:end].numpy())
        return [(value, np.concatenate(runs_of_class[value])) for value in sorted(runs_of_class)]

    def label_map(self, photo: int, size: tuple[int, int] | None = None) -> np.ndarray:
        """Label map of a photo sampled nearest at ``size`` = (h, w), or at the photo's own size: h x w uint8.

        The class that stands first in the class table wins where masks overlap, whatever the rows' order.
        """
        size, label_size = size or self.size(photo), self.sizes[photo].tolist()
        by_column = np.zeros(size[::-1], np.uint8)  # as runs go
        for value, runs in reversed(self.class_masks(photo)):
            np.copyto(by_column, value, where=rasterise(runs, *label_size, size).T)
        return cv2.transpose(by_column)


def _pairs(sizes: Iterable[tuple[int, int]]) -> Tensor:
    return torch.tensor(list(sizes), dtype=torch.int32).reshape(-1, 2)


def _offsets(lengths: Iterable[int]) -> Tensor:
    return torch.from_numpy(np.cumsum([0, *lengths], dtype=np.int64))
