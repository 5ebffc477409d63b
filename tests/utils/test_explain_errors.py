"""Errors that users meet in training name their remedy; others pass through."""

import errno
import os

import pytest
import torch

from utils.errors import UserError
from utils.explain_errors import explain_errors

# Messages as PyTorch words them.
BUS_ERROR = "DataLoader worker (pid(s) 12) is killed by signal: Bus error. It is possible that workers lack memory."
NO_COMPILER = "InvalidCxxCompiler: No working C++ compiler found in torch._inductor.config.cpp.cxx: (None, 'g++')"
COMPILER_ERROR = type("InductorError", (RuntimeError,), {"__module__": "torch._inductor.exc"})
SHARED_MEMORY = r"shared memory.*--nThreads 0.*--shm-size"
NO_MEMORY = r"out of memory; lower --batchSize \(now 8\) or --fine_height and --fine_width \(now 256x192\)"
LOST_WORKER, CAUSED = (RuntimeError("DataLoader worker (pid(s) 12, 13) exited unexpectedly") for _ in range(2))
CAUSED.__cause__ = RuntimeError(BUS_ERROR)
KILLED = r"a loader worker .*memory.*--nThreads \(now 2\)"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("unable to write to file </torch_12_3_0>: No space left on device (28)"), SHARED_MEMORY),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), SHARED_MEMORY),  # a semaphore
        (OSError(errno.ENOENT, os.strerror(errno.ENOENT)), SHARED_MEMORY),  # the same without /dev/shm
        (CAUSED, SHARED_MEMORY),
        (MemoryError(), NO_MEMORY),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), NO_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), NO_MEMORY),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), NO_MEMORY),
        (LOST_WORKER, KILLED),
        (RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. "), KILLED),
        (COMPILER_ERROR(f"backend='inductor' raised:\n{NO_COMPILER}\n\nSet X=1"), r"No working C\+\+ compiler found"),
        (RuntimeError("[gloo/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1"), "another process of this run"),
    ],
)
def test_errors_that_users_meet_name_their_remedy(error, words):
    with pytest.raises(UserError, match=words) as caught, explain_errors(8, (256, 192), 2):
        raise error
    assert "\n" not in str(caught.value)


def test_the_cpus_own_error_is_recognised():
    with pytest.raises(UserError, match="out of memory"), explain_errors(8, (256, 192), 2):
        torch.empty(2**60)


@pytest.mark.parametrize("error", [
    RuntimeError("shape '[3]' is invalid"), UserError("set"), OSError(errno.EIO, "bad"),
    OSError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"),
    OSError(errno.ENOSPC, "No space left on device", "a file of the user's"),
])  # fmt: skip
def test_other_errors_pass_as_they_are(error):
    with pytest.raises(type(error)) as caught, explain_errors(8, (256, 192), 2):
        raise error
    assert caught.value is error
