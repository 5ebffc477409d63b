"""What this machine has, found without importing PyTorch."""

import shutil
import sys
from pathlib import Path

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
