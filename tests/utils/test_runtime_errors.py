"""Errors that users meet in training name their remedy; others pass through."""

import errno
import os

import pytest
import torch

from utils.errors import UserError
from utils.runtime_errors import explain_errors

# Messages as PyTorch words them.
BUS_ERROR = (
    "DataLoader worker (pid(s) 12) is killed by signal: Bus error. It is possible that dataloader's workers are out of "
    "shared memory. Please try to raise your shared memory limit."
)
IN_WORKER = "Caught {} in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File ...\n{}: {}"
NO_COMPILER = "InvalidCxxCompiler: No working C++ compiler found in torch._inductor.config.cpp.cxx: (None, 'g++')"


def compiler_error(text: str) -> Exception:
    return type("InductorError", (RuntimeError,), {"__module__": "torch._inductor.exc"})(text)


def message_for(error: Exception) -> str:
    with pytest.raises(UserError) as caught, explain_errors(8, (256, 192), 2):
        raise error
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(BUS_ERROR),
        RuntimeError("unable to write to file </torch_12_3_0>: No space left on device (28)"),
        RuntimeError("unable to allocate shared memory(shm) for file </torch_12_3_0>: No space left on device (28)"),
        RuntimeError("unable to mmap 4096 bytes from file </torch_12_3_0>: Cannot allocate memory (12)"),
        RuntimeError(
            IN_WORKER.format("RuntimeError", "RuntimeError", "unable to resize file </torch_1_2_3>: No space")
        ),
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),  # a semaphore
    ],
)
def test_full_shared_memory_names_nthreads_and_shm_size(error):
    message = message_for(error)
    assert "--nThreads 0" in message and "--shm-size" in message


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError(IN_WORKER.format("MemoryError", "MemoryError", "Unable to allocate 7 GiB")),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you ..."
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_no_memory_names_batch_size_and_size(error):
    assert message_for(error) == (
        "out of memory; lower --batchSize (now 8) or --fine_height and --fine_width (now 256x192)"
    )


def test_the_cpus_own_error_is_recognised():
    """The allocation that no machine can grant, and not a message of which we hope that it is the right one."""
    with pytest.raises(UserError, match="out of memory"), explain_errors(8, (256, 192), 2):
        torch.empty(2**60)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. "),
        RuntimeError("DataLoader worker (pid(s) 12, 13) exited unexpectedly"),
    ],
)
def test_a_killed_worker_names_memory_and_nthreads(error):
    message = message_for(error)
    assert "a loader worker " in message and "memory" in message and "--nThreads (now 2)" in message


def test_why_a_worker_died_is_found_behind_the_loaders_own_error():
    error = RuntimeError("DataLoader worker (pid(s) 12, 13) exited unexpectedly")
    error.__cause__ = RuntimeError(BUS_ERROR)
    assert "--shm-size" in message_for(error)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM])
def test_workers_that_cannot_be_started_name_nthreads(number):
    assert "cannot start the loader workers" in message_for(OSError(number, os.strerror(number)))


def test_without_loader_workers_none_are_spoken_of():
    for error in (OSError(errno.EMFILE, "Too many open files"), OSError(errno.EAGAIN, "Resource unavailable")):
        with pytest.raises(UserError) as caught, explain_errors(8, (256, 192)):
            raise error
        assert "worker" not in str(caught.value) and "training process" not in str(caught.value)


def test_too_many_open_files_name_ulimit():
    assert "ulimit -n" in message_for(RuntimeError("Too many open files. Communication with the workers ..."))
    assert "ulimit -n" in message_for(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))


@pytest.mark.parametrize(
    "text", [NO_COMPILER, f"backend='inductor' raised:\n{NO_COMPILER}\n\nSet TORCHDYNAMO_VERBOSE=1"]
)
def test_a_missing_compiler_names_compile_and_the_reason(text):
    message = message_for(compiler_error(text))
    assert "leave out --compile" in message and "No working C++ compiler found" in message


def test_a_lost_rank_points_to_the_one_that_failed():
    error = RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1")
    assert "another process of this run has ended" in message_for(error)


@pytest.mark.parametrize(
    "error",
    [ValueError("a fault"), RuntimeError("shape '[3]' is invalid"), UserError("set --this"), OSError(errno.EIO, "bad")],
)
def test_other_errors_pass_as_they_are(error):
    with pytest.raises(type(error)) as caught, explain_errors(8, (256, 192), 2):
        raise error
    assert caught.value is error
