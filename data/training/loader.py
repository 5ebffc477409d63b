"""Training data: tables are read, and their photographs come in endless batches on the device."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from data.classes import ClassTable
from data.labels.read import read_labels
from data.labels.table import LabelTable
from data.labels.tags import count_tagged, read_tags
from data.photos.folder import name_key
from data.training.datasets import LoadedSource, Sample, TrainingPhotos
from data.training.sampler import Draw, MixedSampler
from data.training.sources import Source
from utils.errors import UserError
from utils.process_group import log, rank, world_size
from utils.training.interruption import hold_stop_signals, set_up_worker


def load_table(df_path: str | None, image_folder: str, classes: ClassTable, max_photos: float = math.inf) -> LabelTable:
    """The labels of photos, and a report of them; df_path: None where no photo shows clothes. Raises UserError."""
    table = read_labels(df_path, image_folder, classes, max_photos, progress=rank() == 0)
    if df_path is None:
        log(f"{image_folder}: {len(table)} photographs without clothes")
    else:
        log(f"{df_path}: {len(table)} photographs, {len(table.class_of_row)} clothes masks")
    for line in table.lines():
        log(f"  {line}")
    return table


def load_source(source: Source, classes: ClassTable, max_photos: float = math.inf) -> LoadedSource:
    """Read the tables of a source. Raises UserError."""
    tags = read_tags(source.tags, classes, source.tag_map) if source.tags else {}
    table = load_table(source.df_path, source.image_folder, classes, max_photos)
    present = torch.ones(len(table), len(classes.names), dtype=torch.bool)
    if source.tags:
        names = [path.name for path in table.files]
        log(f"{source.tags}: tags of {count_tagged(tags, names, source.tags)} of these photographs")
        for of_photo, name in zip(present, names, strict=True):
            of_photo &= tags.get(name_key(name), of_photo)
    return LoadedSource(source, table, present)


@dataclass
class TrainingData:
    """Sources and how they are trained on. The fields: see options/train_options.py."""

    sources: list[LoadedSource]
    classes: ClassTable
    mean: float
    std: float
    seed: int
    shuffle: bool
    batch_size: int
    workers: int
    channels_last: bool

    def photos(self, size: tuple[int, int]) -> TrainingPhotos:
        """The samples at ``size`` = (h, w)."""
        return TrainingPhotos(self.sources, size, self.mean, self.std, self.seed)

    def first_images(self, size: tuple[int, int], limit: int = 64) -> Iterator[Tensor]:
        """Images of the first photographs of the first source, at most ``limit``: 3 x h x w each."""
        photos = self.photos(size)
        return (photos[Draw(0, index, 0)].image for index in range(min(limit, len(self.sources[0].table))))

    def batches(self, size: tuple[int, int], seen: int, device: torch.device) -> Iterator[Sample]:
        """This rank's batches, on the device and without end; they follow the ``seen`` samples of all ranks.

        Raises UserError where no photo can be decoded.
        """
        lengths = [len(each.table) for each in self.sources]
        shares = [each.source.share for each in self.sources]
        sampler = MixedSampler(lengths, shares, rank(), world_size(), self.shuffle, self.seed, seen // world_size())
        loader = DataLoader(
            self.photos(size),
            self.batch_size,
            sampler=sampler,
            num_workers=self.workers,
            pin_memory=device.type == "cuda",
            worker_init_fn=set_up_worker,
        )
        memory_format = torch.channels_last if self.channels_last else torch.contiguous_format
        # Unpinned memory may be gone before Apple's GPUs copy it: pytorch/pytorch#189690.
        to_device = {"device": device, "non_blocking": loader.pin_memory}
        with hold_stop_signals():
            loaded = iter(loader)
        try:
            for image, *rest in loaded:
                image = image.to(**to_device, memory_format=memory_format)
                yield Sample(image, *(tensor.to(**to_device) for tensor in rest))
        except UserError as error:
            # The DataLoader puts the traceback of the worker that raised it before the message.
            raise UserError(str(error).strip().splitlines()[-1].removeprefix("utils.errors.UserError: ")) from None
