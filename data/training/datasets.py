"""The photographs of a label table: as samples to train on, and as photo and truth to compare with."""

import sys
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from data.labels.table import LabelTable
from data.photos.open import PhotoError, open_photo
from data.training.augmentation import TrainTransform
from data.training.sampler import Draw
from data.training.sources import Source
from utils.errors import UserError, escape_unprintable
from utils.label_values import UNKNOWN
from utils.prefetch import prefetch


class Sample(NamedTuple):
    """One training sample; collated, each field has a batch dimension in front.

    image: 3 x h x w float32, normalised. label: h x w int64, 0..C-1, UNKNOWN or SOME_CLOTHES. trust: how far the
    labels are trusted, 0..1. present: C bool, the classes that the photo can contain. teacher_trust: how far a
    teacher's predictions are trusted, 0..1.
    """

    image: Tensor
    label: Tensor
    trust: Tensor
    present: Tensor
    teacher_trust: Tensor


@dataclass
class LoadedSource:
    """A source with its tables read. present: P x C bool, the classes that each of the table's photos can contain.

    One tensor, for the reason of LabelTable's: a worker that is not forked gets each as an open file.
    """

    source: Source
    table: LabelTable
    present: Tensor


class TrainingPhotos(Dataset):
    """Training samples of one or several sources.

    A sample is a pure function of the seed and its draw. It does not depend on the number of loader workers, and a
    resumed run makes the samples that the straight run would have made.
    """

    def __init__(self, sources: list[LoadedSource], size: tuple[int, int], mean: float, std: float, seed: int = 0):
        """size: (h, w)."""
        self.sources, self.seed = sources, seed
        self.transforms = [TrainTransform(size, mean, std, each.source.augmentation) for each in sources]

    def __getitem__(self, draw: Draw) -> Sample:
        loaded, transform = self.sources[draw.source], self.transforms[draw.source]
        source, table, photos = loaded.source, loaded.table, len(loaded.table)
        index, *labelled = open_labelled(table, draw.index, transform)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 1_000_003 + draw.source * 1_000_000_007 + draw.epoch * photos + draw.index)
            image, label = transform(
                *labelled, lambda: open_labelled(table, int(torch.randint(photos, ())), transform)[1:]
            )
        trust, teacher_trust = torch.tensor((source.trust, source.teacher_trust), dtype=torch.float32)
        return Sample(image, label, trust, loaded.present[index], teacher_trust)


def open_labelled(
    table: LabelTable, wanted: int, transform: TrainTransform
) -> tuple[int, Image.Image, np.ndarray, tuple[int, int]]:
    """(index, photo, label map, size of its file) of the photo ``wanted``, or of the next one that can be decoded.

    Photo and label map are of the photo's working size.
    """
    for offset in range(len(table)):
        index = (wanted + offset) % len(table)
        path, stored = table.files[index], table.size(index)
        size = transform.working_size(stored)
        upright = bool(table.upright[index])  # by a quarter, and it is resized before
        try:
            photo = open_photo(path, size[::-1] if upright else size, upright)
        except PhotoError as error:
            if not path.parent.is_dir():
                raise UserError(f"the folder {path.parent} is gone; put it back and --resume") from None
            # Its header was fine at start-up; a photo broken further on must not end a long run.
            warnings.warn(f"{path}: {error}; the next photo is used instead", stacklevel=2)
            continue
        return index, photo, table.label_map(index, size), stored
    raise UserError(f"none of the {len(table)} photographs can be decoded; check the data set")


class EvaluationPhotos:
    """Photographs and their label maps at the photo's own size, or head and shoulders of both (``close_ups``)."""

    def __init__(self, table: LabelTable, close_ups: bool = False):
        self.table, self.close_ups = table, close_ups

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Photo (RGB, as its labels were drawn) and label map (H x W uint8). Raises PhotoError."""
        photo = open_photo(self.table.files[index], upright=bool(self.table.upright[index]))
        label = self.table.label_map(index, photo.size[::-1])
        return close_up(photo, label) if self.close_ups else (photo, label)

    def load(self, indices: Iterable[int]) -> Iterator[tuple[int, Image.Image, np.ndarray]]:
        """(index, photo, label map) of those that can be decoded, one ahead of the caller; the others are reported."""
        with ThreadPoolExecutor(1) as pool:
            for index, loaded in prefetch(pool, self.__getitem__, indices, limit=1):
                try:
                    photo, label = loaded.result()
                except PhotoError as error:
                    print(f"left out: {escape_unprintable(self.table.files[index])}: {error}", file=sys.stderr)
                else:
                    yield index, photo, label


def close_up(photo: Image.Image, label: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """The head and shoulders of a photo and of its label map (H x W uint8), cut out 4:5 like a portrait.

    With c the height that the clothes take up, it goes from 0.25 c above them to 0.3 c below their upper end,
    centred on them, and ends with the photo. A photo without clothes is left whole.
    """
    rows, columns = np.nonzero((label > 0) & (label != UNKNOWN))
    if not len(rows):
        return photo, label
    height = rows.max() + 1 - rows.min()
    top, bottom = max(0, rows.min() - round(0.25 * height)), rows.min() + max(1, round(0.3 * height))
    width = round(0.8 * (bottom - top))
    left = round(columns.mean() + 0.5 - width / 2)
    right, left = left + max(1, width), max(0, left)
    label = label[top:bottom, left:right]
    return photo.crop((left, top, left + label.shape[1], top + label.shape[0])), label
