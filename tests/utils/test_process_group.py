"""The group of a run's processes. Runs of two processes are in tests/programs/ (train, infer, evaluate)."""

import numpy as np
import pytest
import torch
import torch.distributed as dist

from utils.errors import UserError
from utils.process_group import any_rank, gather, process_group, rank, sum_over_ranks, world_size

CPU = torch.device("cpu")


@pytest.mark.parametrize("built_in", [True, False])
def test_without_a_launcher_there_is_one_process_and_no_group(built_in, launched, monkeypatch):
    if not built_in:  # PyTorch may come without
        monkeypatch.setattr(dist, "is_available", lambda: False)
        monkeypatch.delattr(dist, "is_initialized")
    assert (rank(), world_size(), gather("mine")) == (0, 1, ["mine"])
    assert any_rank(True, CPU) and not any_rank(False, CPU)
    assert sum_over_ranks(np.array([3]), CPU).tolist() == [3]
    with process_group(CPU):
        assert not (built_in and dist.is_initialized())
    with pytest.raises(UserError, match="torchrun"), process_group(CPU, launched=True):
        pass


def test_after_an_error_the_group_is_not_waited_for(launched, monkeypatch):
    launched(RANK=0, WORLD_SIZE=1, LOCAL_RANK=0)
    monkeypatch.setattr(dist, "init_process_group", lambda backend: None)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: pytest.fail("waited for the other ranks"))
    with pytest.raises(ValueError, match="first"), process_group(CPU, launched=False):
        raise ValueError("first")
