"""What a launcher's environment says, and shares of a work."""

import os

import pytest

from utils.errors import UserError
from utils.ranks import Shard, is_launched, local_rank, local_world_size, share_of_cores


def test_without_a_launcher_there_is_one_process(launched):
    launched(LOCAL_RANK=3)  # of something else: a launcher sets RANK and WORLD_SIZE as well
    assert (is_launched(), local_rank(), local_world_size(), share_of_cores()) == (False, 0, 1, None)
    assert Shard.parse(None) == Shard(1, 1)


def test_the_launcher_says_which_process_this_is(launched):
    launched(RANK=5, WORLD_SIZE=8, LOCAL_RANK=1, LOCAL_WORLD_SIZE=4)
    assert (is_launched(), local_rank(), local_world_size()) == (True, 1, 4)
    assert Shard.parse(None) == Shard(6, 8)
    launched(RANK=1, WORLD_SIZE=2)  # old launchers
    assert (local_rank(), local_world_size()) == (0, 2)


def test_processes_of_a_machine_share_its_cores(launched, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(12)), raising=False)
    launched(RANK=0, WORLD_SIZE=8, LOCAL_RANK=0, LOCAL_WORLD_SIZE=4)
    assert share_of_cores() == 3
    launched(RANK=0, WORLD_SIZE=16, LOCAL_RANK=0, LOCAL_WORLD_SIZE=16)
    assert share_of_cores() == 1
    assert share_of_cores(processes=3) == 4  # such as the workers of a server
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS and Windows
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert share_of_cores(processes=2) == 4


def test_shards_are_disjoint_and_together_the_whole(launched):
    items = list(range(10))
    parts = [Shard.parse(f"{i}/3").of(items) for i in (1, 2, 3)]
    assert parts == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]
    assert Shard.parse("11/11").of(items) == []


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/", "/4", "-1/4", "a/b", "1/0", "", "1/2/3", "1.0/2"])
def test_a_shard_that_is_none_is_refused(text, launched):
    with pytest.raises(UserError, match="must be I/N with I from 1 to N, such as 1/4"):
        Shard.parse(text)


def test_a_shard_beside_a_launcher_is_refused(launched):
    launched(RANK=0, WORLD_SIZE=2)
    with pytest.raises(UserError, match="leave it out"):
        Shard.parse("1/2")
    launched(RANK=0, WORLD_SIZE=1)
    assert Shard.parse("1/2") == Shard(1, 2)
