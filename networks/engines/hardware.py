"""What this machine has and this process can do, found without importing PyTorch."""

import os
import shutil
import sys
from functools import cache
from pathlib import Path

from utils.errors import UserError

GPU_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, Windows' subsystem for Linux
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}  # of /proc/cpuinfo


def may_have_gpu() -> bool:
    """Whether it is worth importing PyTorch to look for a GPU."""
    if sys.platform == "linux":
        return any(Path(path).exists() for path in GPU_FILES)
    return sys.platform == "darwin" or shutil.which("nvidia-smi") is not None


def cpu_has_bf16() -> bool:
    try:
        return bool(BF16_FLAGS & set(Path("/proc/cpuinfo").read_text().split()))
    except OSError:
        return False


@cache
def _first_process() -> int:
    return os.getpid()


def check_not_forked(single_thread: bool = False) -> None:
    """Raise UserError in a process that was forked from one that had called this before, in place of a hang.

    Engines do not survive a fork: the threads that they wait for exist in the parent alone. single_thread: whether the
    engine has no threads to wait for.
    """
    if _first_process() != os.getpid() and not single_thread:
        raise UserError(
            "this process was forked from one that had loaded a network, and would wait for its threads for ever; "
            "start it with multiprocessing's method 'spawn', or load networks in the forked processes alone"
        )
