"""Which process of a shared work this one is, told by the launcher's environment or by the user; without PyTorch."""

import os
from typing import NamedTuple

from utils.errors import UserError


def is_launched() -> bool:
    """Whether a launcher started this process: torchrun and others set RANK, WORLD_SIZE, LOCAL_RANK."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", 0)) if is_launched() else 0


def local_world_size() -> int:
    """Number of processes of the run on this machine; old launchers do not tell, and it is taken to be all of them."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"])) if is_launched() else 1


def share_of_cores(processes: int | None = None) -> int | None:
    """How many threads each of ``processes`` may have; None where there is one, and an engine knows best.

    processes: default: those of the run on this machine.
    """
    processes = processes or local_world_size()
    return None if processes == 1 else max(1, cores() // processes)


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Shard(NamedTuple):
    """Part ``number`` (from 1) of ``count``."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str | None) -> "Shard":
        """From "I/N"; None takes the launcher's rank, and the whole without a launcher. Raises UserError."""
        launched = cls(int(os.environ["RANK"]) + 1, int(os.environ["WORLD_SIZE"])) if is_launched() else cls()
        if text is None:
            return launched
        if launched.count > 1:
            raise UserError(f"--shard: each of the launcher's {launched.count} processes has a share; leave it out")
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise UserError(f"--shard {text} must be I/N with I from 1 to N, such as 1/4")
        return cls(int(number), int(count))

    def of(self, items):
        """Every ``count``-th of a sequence, from the ``number``-th on."""
        return items[self.number - 1 :: self.count]
