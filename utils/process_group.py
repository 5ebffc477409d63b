"""The processes of one run: started by torchrun or torch.distributed.launch, or just this one."""

import os
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from utils.errors import UserError
from utils.ranks import is_launched

PATIENCE = timedelta(days=20)  # for ranks whose shares of a folder take longer; gloo counts milliseconds in 32 bits


def _in_group() -> bool:
    return dist.is_available() and dist.is_initialized()  # PyTorch may be built without, as AMD's for Windows is


def rank() -> int:
    return dist.get_rank() if _in_group() else 0


def world_size() -> int:
    return dist.get_world_size() if _in_group() else 1


def log(text: str) -> None:
    """Print a line, on rank 0 alone."""
    if rank() == 0:
        tqdm.write(text)


@contextmanager
def process_group(device: torch.device, launched: bool = False, **settings):
    """Join the launcher's process group (NCCL on CUDA, gloo elsewhere) for the length of a run.

    launched: the user asserts a launcher; UserError when there is none. settings: of init_process_group. After
    an error the group is left as it is: to destroy it may mean to wait for ranks that wait for this one.
    """
    if not is_launched():
        if launched:
            raise UserError("--distributed: start with torchrun --nproc_per_node=N train.py, or leave it out")
        yield
        return
    settings |= _store_of_attempt()
    if device.type == "cuda":
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", device_id=device, **settings)
    else:
        dist.init_process_group("gloo", **settings)
    yield
    dist.destroy_process_group()


def _store_of_attempt() -> dict[str, object]:
    """Where the ranks that torchrun has started again exchange their addresses: settings of init_process_group.

    torchrun keeps one store for all its attempts, so a rank might connect to the address of one that has ended. On
    several machines the attempts are counted on each alone, and the store is left as it is.
    """
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if attempt == "0" or os.environ.get("GROUP_WORLD_SIZE") != "1":
        return {}
    store, own_rank, size = next(dist.rendezvous("env://"))
    return {"store": dist.PrefixStore(f"attempt_{attempt}", store), "rank": own_rank, "world_size": size}


def average_gradients(network: nn.Module, device: torch.device) -> nn.Module:
    """The network for a forward pass whose gradients are averaged over the ranks."""
    if world_size() == 1:
        return network
    return DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None)


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any rank."""
    if not _in_group():
        return flag
    value = torch.tensor(int(flag), device=device)
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return bool(value.item())


def sum_over_ranks(counts: np.ndarray, device: torch.device) -> np.ndarray:
    """Integer counts added up over the ranks."""
    if not _in_group():
        return counts
    total = torch.from_numpy(counts).to(device)
    dist.all_reduce(total)
    return total.cpu().numpy()


def share_buffers(network: nn.Module) -> None:
    """Give every rank the buffers of rank 0: batch norm's statistics follow each rank's own batches."""
    if _in_group():
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)


def gather(value: object) -> list:
    """The value of every rank, by rank; for gloo."""
    if not _in_group():
        return [value]
    values = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def wait_for_ranks() -> None:
    """Return when every rank has come here, in a launched process without a group."""
    with process_group(torch.device("cpu"), timeout=PATIENCE):
        dist.barrier()
