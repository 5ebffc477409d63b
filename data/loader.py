"""Training data: a table is read, and its photographs come in endless batches on the device."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from data.classes import ClassTable
from data.label_table import LabelTable
from data.labels import read_labels
from data.photos import Sample, TrainingPhotos
from data.sampler import Draw, EndlessSampler
from data.transforms import TrainTransform
from utils.distributed import log, rank, world_size
from utils.errors import UserError
from utils.interruption import ignore_in_worker


def load_table(df_path: str, image_folder: str, classes: ClassTable, max_photos: float = math.inf) -> LabelTable:
    """read_labels, with a report of what is in it. Raises UserError."""
    table = read_labels(df_path, image_folder, classes, max_photos, progress=rank() == 0)
    log(f"{df_path}: {len(table)} photographs, {len(table.class_of_row)} clothes masks")
    for line in table.lines():
        log(f"  {line}")
    return table


@dataclass
class TrainingData:
    """A table and how it is trained on. classes: background included. The rest: see options/train_options.py."""

    table: LabelTable
    classes: int
    mean: float
    std: float
    augment: str
    min_crop_area: float
    close_ups: float
    seed: int
    shuffle: bool
    batch_size: int
    workers: int
    channels_last: bool

    def photos(self, size: tuple[int, int]) -> TrainingPhotos:
        """The samples at ``size`` = (h, w)."""
        transform = TrainTransform(size, self.mean, self.std, self.augment, self.min_crop_area, self.close_ups)
        return TrainingPhotos(self.table, transform, self.classes, self.seed)

    def first_images(self, size: tuple[int, int], limit: int = 64) -> Iterator[Tensor]:
        """The first photographs of the table, at most ``limit``: 3 x h x w each."""
        photos = self.photos(size)
        return (photos[Draw(0, index, 0)].image for index in range(min(limit, len(photos))))

    def batches(self, size: tuple[int, int], seen: int, device: torch.device) -> Iterator[Sample]:
        """This rank's batches, on the device and without end; they follow the ``seen`` samples of all ranks.

        image N x 3 x h x w, label N x h x w, weight N, present N x C. Raises UserError where no photo can be decoded.
        """
        photos = self.photos(size)
        sampler = EndlessSampler(photos, rank(), world_size(), self.shuffle, self.seed, seen // world_size())
        loader = DataLoader(
            photos,
            self.batch_size,
            sampler=sampler,
            num_workers=self.workers,
            pin_memory=device.type == "cuda",
            worker_init_fn=ignore_in_worker,
        )
        memory_format = torch.channels_last if self.channels_last else torch.contiguous_format
        try:
            for image, *rest in loader:
                image = image.to(device, non_blocking=True, memory_format=memory_format)
                yield Sample(image, *(tensor.to(device, non_blocking=True) for tensor in rest))
        except UserError as error:
            # The DataLoader puts the traceback of the worker that raised it before the message.
            raise UserError(str(error).strip().splitlines()[-1].removeprefix("utils.errors.UserError: ")) from None
