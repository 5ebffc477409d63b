"""The labels of a data set, packed: photographs and the class masks on them, whatever file they came from."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.rle import rasterise

Mask = tuple[int, np.ndarray]  # (class, runs as parse_rle gives them)


@dataclass
class SkippedRows:
    """Rows that cannot be used, by kind of fault."""

    count: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, row: int, image_id: str) -> None:
        self.count[kind] = self.count.get(kind, 0) + 1
        self.first.setdefault(kind, f"row {row}, {image_id}")

    def lines(self) -> list[str]:
        return [f"skipped {n} row(s): {kind} (first: {self.first[kind]})" for kind, n in self.count.items()]


@dataclass
class LabelTable:
    """Photographs and the masks on them, in flat tensors.

    Tensors, because loader workers share them: forked workers by the pages of their parent, spawned ones
    by shared memory. A data frame or a list of a few 100,000 Python objects would be copied to each.

    files: path of each of P photographs. sizes: P x 2 int32 (height, width) as stored. row_offsets: P + 1 int64,
    photo p owns rows row_offsets[p] to row_offsets[p + 1]. class_of_row: R uint8; background rows are left out.
    run_offsets: R + 1 int64 into runs. runs: N x 2 int32, see parse_rle. skipped: rows that could not be used.
    """

    files: list[Path]
    sizes: Tensor
    row_offsets: Tensor
    class_of_row: Tensor
    run_offsets: Tensor
    runs: Tensor
    skipped: SkippedRows

    @classmethod
    def pack(
        cls, photos: Iterable[tuple[Path, tuple[int, int], list[Mask]]], skipped: SkippedRows | None = None
    ) -> "LabelTable":
        """Table of (path, stored (height, width), masks) of each photo."""
        photos = list(photos)
        masks = [mask for _, _, masks_of_photo in photos for mask in masks_of_photo]
        return cls(
            files=[path for path, _, _ in photos],
            sizes=torch.tensor([size for _, size, _ in photos], dtype=torch.int32).reshape(-1, 2),
            row_offsets=_offsets(len(masks_of_photo) for _, _, masks_of_photo in photos),
            class_of_row=torch.tensor([value for value, _ in masks], dtype=torch.uint8),
            run_offsets=_offsets(len(runs) for _, runs in masks),
            runs=torch.from_numpy(np.concatenate([runs for _, runs in masks] or [np.empty((0, 2), np.int32)])),
            skipped=skipped or SkippedRows(),
        )

    def __len__(self) -> int:
        return len(self.files)

    def size(self, photo: int) -> tuple[int, int]:
        """(height, width) of a photo as stored."""
        return tuple(self.sizes[photo].tolist())

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
        """Label map of a photo sampled nearest at ``size`` = (h, w), or at its stored size: h x w uint8.

        The class that stands first in the class table wins where masks overlap, whatever the rows' order.
        """
        size = size or self.size(photo)
        label = np.zeros(size, np.uint8)
        for value, runs in reversed(self.class_masks(photo)):
            label[rasterise(runs, *self.size(photo), size)] = value
        return label


def _offsets(lengths: Iterable[int]) -> Tensor:
    return torch.from_numpy(np.cumsum([0, *lengths], dtype=np.int64))
