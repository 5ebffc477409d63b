"""Photographs and label maps of an iMaterialist-format table as a torch Dataset."""

import warnings

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from data.imaterialist_table import LabelTable
from data.photo import PhotoError, open_photo
from data.rle import rasterise
from data.transforms import TrainTransform
from utils.errors import UserError


class IMaterialistDataset(Dataset):
    """Training samples: image (3 x h x w float32, normalised) and label (h x w int64, 0..classes).

    Augmentation is a pure function of the seed and the position asked for. Positions beyond the number of
    photos are later epochs (photo = position % len), so the samples do not depend on the number of loader
    workers, and a resumed run draws what the straight run would have drawn.
    """

    def __init__(
        self,
        table: LabelTable,
        size: tuple[int, int],
        mean: float = 0.5,
        std: float = 0.5,
        augment: str = "none",
        min_crop_area: float = 0.35,
        close_ups: float = 0.0,
        seed: int = 0,
    ):
        """size: (fine_height, fine_width). augment, min_crop_area, close_ups: see TrainTransform."""
        self.table, self.seed = table, seed
        self.transform = TrainTransform(size, mean, std, augment, min_crop_area, close_ups)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        for candidate in range(position, position + len(self)):
            index = candidate % len(self)
            size = self.transform.working_size(self.table.size(index))
            try:
                photo = open_photo(self.table.files[index], size, upright=False)
                break
            except PhotoError as error:
                # Its header was fine at start-up; a photo broken further on must not end a long run.
                warnings.warn(f"{self.table.files[index]}: {error}; the next photo is used instead", stacklevel=2)
        else:
            raise UserError(f"none of the {len(self)} photographs can be decoded; check the data set")
        label = label_map(self.table, index, size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 1_000_003 + position)
            return self.transform(photo, label)


def label_map(table: LabelTable, index: int, size: tuple[int, int]) -> np.ndarray:
    """Label map of photo ``index`` sampled nearest at ``size`` = (h, w): h x w uint8.

    The class that stands first in the class table wins where masks overlap, whatever the rows' order.
    """
    runs_of_class: dict[int, list[np.ndarray]] = {}
    for value, runs in table.rows(index):
        runs_of_class.setdefault(value, []).append(runs)
    label = np.zeros(size, np.uint8)
    for value in sorted(runs_of_class, reverse=True):
        label[rasterise(np.concatenate(runs_of_class[value]), *table.size(index), size)] = value
    return label


def photo_and_label(table: LabelTable, index: int, close_ups: bool = False) -> tuple[Image.Image, np.ndarray]:
    """A photo (RGB, as stored) and its label map (H x W uint8) at the photo's own size, for evaluation.

    close_ups: the head and shoulders of both instead.
    """
    photo, label = open_photo(table.files[index], upright=False), label_map(table, index, table.size(index))
    return close_up(photo, label) if close_ups else (photo, label)


def close_up(photo: Image.Image, label: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """The head and shoulders of a photo and of its label map (H x W uint8), cut out 4:5 like a portrait.

    With c the height that the clothes take up, it goes from 0.25 c above them to 0.3 c below their upper end,
    centred on them, and ends with the photo. A photo without clothes is left whole.
    """
    rows, columns = np.nonzero(label)
    if not len(rows):
        return photo, label
    height = rows.max() + 1 - rows.min()
    top, bottom = max(0, rows.min() - round(0.25 * height)), rows.min() + max(1, round(0.3 * height))
    width = round(0.8 * (bottom - top))
    left = max(0, round(columns.mean() + 0.5 - width / 2))
    label = label[top:bottom, left : left + max(1, width)]
    return photo.crop((left, top, left + label.shape[1], top + label.shape[0])), label
