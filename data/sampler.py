"""The order in which training visits the photographs."""

from collections.abc import Iterator
from itertools import count, islice
from typing import NamedTuple

from torch.utils.data import Dataset, DistributedSampler, Sampler


class Draw(NamedTuple):
    """One sample to make: which photo of which source, and in which epoch of that source."""

    source: int
    index: int
    epoch: int


class EndlessSampler(Sampler[Draw]):
    """This rank's draws, epoch after epoch, from any point on.

    Endless, because batches then run on across epochs and loader workers are started once.
    """

    def __init__(self, dataset: Dataset, rank: int, world_size: int, shuffle: bool, seed: int, start: int = 0):
        """start: samples this rank has already used."""
        self.start = start
        self.one_epoch = DistributedSampler(dataset, world_size, rank, shuffle=shuffle, seed=seed)

    def __iter__(self) -> Iterator[Draw]:
        first_epoch, used = divmod(self.start, len(self.one_epoch))
        for epoch in count(first_epoch):
            self.one_epoch.set_epoch(epoch)
            for index in islice(self.one_epoch, used if epoch == first_epoch else 0, None):
                yield Draw(0, index, epoch)
