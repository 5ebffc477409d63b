"""The order in which training visits the photographs."""

from collections.abc import Iterator
from itertools import count, islice

from torch.utils.data import Dataset, DistributedSampler, Sampler


class EndlessSampler(Sampler[int]):
    """This rank's positions, epoch after epoch, from any point on.

    Yields epoch * len(dataset) + index, which the dataset turns into one draw of its augmentation. Endless,
    so that batches run on across epochs and loader workers are started once.
    """

    def __init__(self, dataset: Dataset, rank: int, world_size: int, shuffle: bool, seed: int, start: int = 0):
        """start: samples this rank has already used."""
        self.photos = len(dataset)
        self.start = start
        self.one_epoch = DistributedSampler(dataset, world_size, rank, shuffle=shuffle, seed=seed)

    def __iter__(self) -> Iterator[int]:
        first_epoch, used = divmod(self.start, len(self.one_epoch))
        for epoch in count(first_epoch):
            self.one_epoch.set_epoch(epoch)
            for index in islice(self.one_epoch, used if epoch == first_epoch else 0, None):
                yield epoch * self.photos + index
