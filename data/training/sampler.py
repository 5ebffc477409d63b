"""The order in which training visits the photographs."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count, islice
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler

BLOCK = 1024  # draws whose sources are chosen at once


class Draw(NamedTuple):
    """One sample to make: which photo of which source, and in which epoch of that source."""

    source: int
    index: int
    epoch: int


class MixedSampler(Sampler[Draw]):
    """This rank's draws of one or several sources, from any point on.

    Endless, because batches then run on across epochs and loader workers are started once. Each draw takes a source by
    its share, and the source gives the next photo of its own current epoch. Draw p of all ranks together depends on p
    and the seed alone; rank r of w has the draws r, r + w, r + 2w, ...
    """

    def __init__(
        self,
        lengths: Sequence[int],
        shares: Sequence[float],
        rank: int,
        world_size: int,
        shuffle: bool,
        seed: int,
        start: int = 0,
    ):
        """lengths: photographs of each source. shares: of the draws, in any unit. start: draws this rank has used."""
        self.lengths, self.shuffle, self.seed = list(lengths), shuffle, seed
        self.shares = np.array(shares, float) / sum(shares)
        self.rank, self.world_size, self.start = rank, world_size, start
        self._order = lru_cache(2 * len(self.lengths))(self._order_of_epoch)

    def __iter__(self) -> Iterator[Draw]:
        return islice(self._draws(self.start * self.world_size), self.rank, None, self.world_size)

    def _draws(self, start: int) -> Iterator[Draw]:
        """The draws of all ranks, from ``start`` on."""
        used = np.zeros(len(self.lengths), np.int64)  # draws of each source before the one that comes next
        for block in count():
            generator = np.random.default_rng((self.seed, block))
            sources = generator.choice(len(self.lengths), BLOCK, p=self.shares)
            if start >= (block + 1) * BLOCK:
                used += np.bincount(sources, minlength=len(used))
                continue
            for number, source in enumerate(sources.tolist(), block * BLOCK):
                epoch, place = divmod(int(used[source]), self.lengths[source])
                used[source] += 1
                if number >= start:
                    yield Draw(source, self._order(source, epoch)[place], epoch)

    def _order_of_epoch(self, source: int, epoch: int) -> list[int]:
        if not self.shuffle:
            return list(range(self.lengths[source]))
        generator = torch.Generator().manual_seed(self.seed + epoch)
        return torch.randperm(self.lengths[source], generator=generator).tolist()
