"""What a launcher's environment says, the cores of a process, and shares of a work."""

import os

import pytest

from utils import ranks
from utils.errors import UserError
from utils.ranks import Shard, cores, is_launched, local_rank, local_world_size, share_of_cores


def test_without_a_launcher_there_is_one_process(launched):
    launched(LOCAL_RANK=3)  # of something else: a launcher sets RANK and WORLD_SIZE as well
    assert (is_launched(), local_rank(), local_world_size()) == (False, 0, 1)
    assert Shard.parse(None) == Shard(1, 1)


def test_the_launcher_says_which_process_this_is(launched):
    launched(RANK=5, WORLD_SIZE=8, LOCAL_RANK=1, LOCAL_WORLD_SIZE=4)
    assert (is_launched(), local_rank(), local_world_size()) == (True, 1, 4)
    assert Shard.parse(None) == Shard(6, 8)
    launched(RANK=1, WORLD_SIZE=2)  # old launchers
    assert (local_rank(), local_world_size()) == (0, 2)


def test_a_part_of_what_a_launcher_says(launched, monkeypatch):
    launched(RANK="", WORLD_SIZE="")
    assert not is_launched()
    launched(RANK=0, WORLD_SIZE=2, LOCAL_RANK="", LOCAL_WORLD_SIZE="")
    assert (local_rank(), local_world_size()) == (0, 2)
    launched(RANK=0, WORLD_SIZE=1)
    monkeypatch.delenv("MASTER_ADDR")
    with pytest.raises(UserError, match="but not MASTER_ADDR; use torchrun, or unset them"):
        is_launched()


def version_1(group: str, quota: int) -> dict[str, str]:
    """Files of a limit: microseconds of 100000."""
    return {f"cgroup/{group}/cpu.cfs_quota_us": str(quota), f"cgroup/{group}/cpu.cfs_period_us": "100000"}


QUOTAS = {  # files -> cores of the 12 that are seen
    "version 2, a container's own root": ({"own": "0::/\n", "cgroup/cpu.max": "200000 100000\n"}, 2),
    "version 2, the parent has less":
        ({"own": "0::/pod/a", "cgroup/pod/a/cpu.max": "max 100000", "cgroup/pod/cpu.max": "300000 100000"}, 3),
    "version 2, a part of a core more": ({"own": "0::/", "cgroup/cpu.max": "150000 100000"}, 2),
    "version 1 by the host's path":
        ({"own": "3:cpuset:/\n2:cpu,cpuacct:/docker/1f\n0::/\n", **version_1("cpu,cpuacct/docker/1f", 400000)}, 4),
    "version 1 within a container": ({"own": "4:cpuacct,cpu:/docker/1f", **version_1("cpu", 200000)}, 2),
    "version 1, no limit": ({"own": "2:cpu:/", **version_1("cpu", -1)}, 12),
    "no control groups": ({}, 12),
}  # fmt: skip


@pytest.mark.parametrize(("files", "expected"), QUOTAS.values(), ids=QUOTAS)
def test_a_containers_quota_counts(files, expected, launched, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(12)), raising=False)
    monkeypatch.setattr(ranks, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(ranks, "OWN_CGROUPS", tmp_path / "own")
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    assert cores() == expected
    assert share_of_cores() == (None if expected == 12 else expected)  # an engine would take all that it sees
    launched(RANK=0, WORLD_SIZE=2, LOCAL_RANK=0, LOCAL_WORLD_SIZE=2)
    assert share_of_cores() == max(1, expected // 2)


def test_shards_are_disjoint_and_together_the_whole(launched):
    shares = [Shard.parse(f"{number}/3").of(list(range(10))) for number in (1, 2, 3)]
    assert shares == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "-1/4", "a/b", ""])
def test_a_shard_that_is_none_and_one_beside_a_launcher_are_refused(text, launched):
    with pytest.raises(UserError, match="must be I/N with I from 1 to N, such as 1/4"):
        Shard.parse(text)
    launched(RANK=0, WORLD_SIZE=2)
    with pytest.raises(UserError, match="leave it out"):
        Shard.parse("1/2")
    launched(RANK=0, WORLD_SIZE=1)
    assert Shard.parse("1/2") == Shard(1, 2)
