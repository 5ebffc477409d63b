"""Errors that users meet in training name their remedy; others pass through."""

import errno
import os

import pytest
import torch

from utils.errors import UserError
from utils.explain_errors import explain_errors

# Messages as PyTorch words them.
BUS_ERROR = (
    "DataLoader worker (pid(s) 12) is killed by signal: Bus error. It is possible that dataloader's workers are out of "
    "shared memory. Please try to raise your shared memory limit."
)
IN_WORKER = "Caught {} in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File ...\n{}: {}"
NO_COMPILER = "InvalidCxxCompiler: No working C++ compiler found in torch._inductor.config.cpp.cxx: (None, 'g++')"


def compiler_error(text: str) -> Exception:
    return type("InductorError", (RuntimeError,), {"__module__": "torch._inductor.exc"})(text)


SHARED_MEMORY = r"shared memory.*--nThreads 0.*--shm-size"
NO_MEMORY = r"out of memory; lower --batchSize \(now 8\) or --fine_height and --fine_width \(now 256x192\)"
LOST_WORKER, CAUSED = (RuntimeError("DataLoader worker (pid(s) 12, 13) exited unexpectedly") for _ in range(2))
CAUSED.__cause__ = RuntimeError(BUS_ERROR)
KILLED = r"a loader worker .*memory.*--nThreads \(now 2\)"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError(BUS_ERROR), SHARED_MEMORY),
        (RuntimeError("unable to write to file </torch_12_3_0>: No space left on device (28)"), SHARED_MEMORY),
        (RuntimeError("unable to mmap 4096 bytes from file </torch_12_3_0>: Cannot allocate memory"), SHARED_MEMORY),
        (RuntimeError(IN_WORKER.format(*["RuntimeError"] * 2, "unable to resize file </torch_1_2_3>")), SHARED_MEMORY),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), SHARED_MEMORY),  # a semaphore
        (MemoryError(), NO_MEMORY),
        (MemoryError(IN_WORKER.format("MemoryError", "MemoryError", "Unable to allocate 7 GiB")), NO_MEMORY),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), NO_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), NO_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."), NO_MEMORY),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."), NO_MEMORY),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), NO_MEMORY),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), NO_MEMORY),
        (RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. "), KILLED),
        (LOST_WORKER, KILLED),
        (compiler_error(NO_COMPILER), r"No working C\+\+ compiler found.*leave out --compile"),
        (compiler_error(f"backend='inductor' raised:\n{NO_COMPILER}\n\nSet X=1"), r"No working C\+\+ compiler found"),
        (RuntimeError("[gloo/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1"), "another process of this run"),
        (CAUSED, SHARED_MEMORY),
    ],
)
def test_errors_that_users_meet_name_their_remedy(error, words):
    with pytest.raises(UserError, match=words) as caught, explain_errors(8, (256, 192), 2):
        raise error
    assert "\n" not in str(caught.value)


def test_the_cpus_own_error_is_recognised():
    with pytest.raises(UserError, match="out of memory"), explain_errors(8, (256, 192), 2):
        torch.empty(2**60)


@pytest.mark.parametrize(
    "error",
    [ValueError("a fault"), RuntimeError("shape '[3]' is invalid"), UserError("set --this"), OSError(errno.EIO, "bad")],
)
def test_other_errors_pass_as_they_are(error):
    with pytest.raises(type(error)) as caught, explain_errors(8, (256, 192), 2):
        raise error
    assert caught.value is error
