"""What a user can do about the errors that PyTorch and the system raise during a run."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from utils.errors import UserError

NO_SEMAPHORE = (errno.ENOSPC, errno.ENOENT, errno.EACCES, errno.EROFS, errno.ENOSYS)  # why there is no room for one


@contextmanager
def explain_errors(batch_size: int, size: tuple[int, int], workers: int | None = None) -> Iterator[None]:
    """Turn errors with a known remedy into a UserError that names it; others pass through as they are.

    batch_size, size (height, width), workers: what the run uses now. workers: loader processes; None: it has threads.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        # The DataLoader may catch why a worker died and raise that it "exited unexpectedly" from it.
        for cause in (error.__cause__, error):
            if cause and (message := explanation(cause, batch_size, size, workers)):
                raise UserError(message) from None
        raise


def explanation(error: BaseException, batch_size: int, size: tuple[int, int], workers: int | None = None) -> str | None:
    """One line: what happened and what to do; None where nothing is known. Parameters as in explain_errors."""
    text = str(error)
    number = error.errno if isinstance(error, OSError) else None
    less_memory = f"lower --batchSize (now {batch_size}) or --fine_height and --fine_width (now {size[0]}x{size[1]})"
    if type(error).__module__.startswith(("torch._inductor", "torch._dynamo", "triton")):
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("backend=")]
        reason = lines[0] if lines else "no reason given"
        return f"--compile failed ({reason}); install a C++ compiler such as g++, or leave out --compile"
    # PyTorch's files in /dev/shm are named torch_*. An error without a file name comes from a semaphore there.
    of_semaphore = number in NO_SEMAPHORE and error.filename is None and error.strerror == os.strerror(number)
    if workers is not None and (of_semaphore or re.search(r"Bus error|</torch_", text)):
        return (
            "the loader workers get no shared memory (/dev/shm is full, missing or not to be written to); load in the "
            "training process with --nThreads 0, or give a Docker container more with --shm-size=8g"
        )
    if killed := re.search(r"DataLoader worker \(pid.*?\) (is killed by signal: \w+|exited unexpectedly)", text):
        return (
            f"a loader worker {killed[1]}, as happens when memory runs out; lower --nThreads (now {workers}) or "
            f"--batchSize (now {batch_size})"
        )
    out_of_memory = r"out of memory|can't allocate memory|not enough memory|_ALLOC_FAILED"
    if isinstance(error, MemoryError) or number == errno.ENOMEM or re.search(out_of_memory, text):
        return f"out of memory; {less_memory}"
    if re.search(r"Connection (closed|reset) by peer", text):
        return "another process of this run has ended; its own message says why"
    return None
