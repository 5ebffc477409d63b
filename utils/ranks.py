"""Which process of a shared work this one is, told by the launcher's environment or by the user; without PyTorch."""

import math
import os
from pathlib import Path
from typing import NamedTuple

from utils.errors import UserError

CGROUPS, OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def is_launched() -> bool:
    """Whether a launcher started this process: torchrun and others set RANK, WORLD_SIZE and where the ranks meet.

    Raises UserError where that is missing.
    """
    if not (os.environ.get("RANK") and os.environ.get("WORLD_SIZE")):
        return False
    if missing := [name for name in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]:
        raise UserError(f"RANK and WORLD_SIZE are set, but not {' and '.join(missing)}; use torchrun, or unset them")
    return True


def local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK") or 0) if is_launched() else 0


def local_world_size() -> int:
    """Number of processes of the run on this machine; old launchers do not tell, and it is taken to be all of them."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ["WORLD_SIZE"]) if is_launched() else 1


def share_of_cores(processes: int | None = None) -> int | None:
    """How many threads each of ``processes`` may have; None where one has all cores, and an engine knows best.

    processes: default: those of the run on this machine.
    """
    processes = processes or local_world_size()
    return None if processes == 1 and cores() == _visible_cores() else max(1, cores() // processes)


def cores() -> int:
    """How many this process may use: those it may run on, or fewer where a container has a quota of processor time."""
    return max(1, math.ceil(min(_visible_cores(), _quota())))


def _visible_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quota() -> float:
    """The smallest quota of the control groups that this process is in, in cores; infinite without one.

    Source: the kernel's documents, admin-guide/cgroup-v2.rst (cpu.max) and scheduler/sched-bwc.rst (version 1).
    """
    try:
        lines = OWN_CGROUPS.read_text().splitlines()
    except OSError:
        return math.inf
    quotas = [math.inf]
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if controllers and "cpu" not in controllers.split(","):
            continue
        for mount in (controllers, "cpu") if controllers else (".", "unified"):
            group = CGROUPS / mount / path.strip("/")  # in a container often not there, but the mounted root is its own
            quotas += [_quota_of(folder) for folder in (group, *group.parents) if folder.is_relative_to(CGROUPS)]
    return min(quotas)


def _quota_of(folder: Path) -> float:
    for names in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
        try:
            quota, period = map(int, " ".join((folder / name).read_text() for name in names).split())
            if quota > 0 and period > 0:
                return quota / period
        except (OSError, ValueError):  # there is none: no such file, "max 100000"
            pass
    return math.inf


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
