"""Choose device and precision."""

import re

import torch

from utils.errors import UserError
from utils.ranks import local_rank, local_world_size

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """'auto' (CUDA, else MPS, else CPU), 'cpu', 'mps', 'cuda' or 'cuda:N' -> device.

    Each of a launcher's processes on this machine has a GPU of its own. Raises UserError when the device that was asked
    for is not there: never a silent fallback.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if not re.fullmatch(r"cpu|mps|cuda(:[0-9]{1,3})?", name):
        raise UserError(f"unknown device {name!r}; use auto, cpu, cuda, cuda:N or mps")
    device = torch.device(name)
    if device.type == "cuda":
        index = local_rank() if device.index is None else device.index
        if not torch.cuda.is_available():
            raise UserError(f"device {name}: PyTorch finds no CUDA here; use cpu, or install a CUDA driver that works")
        if device.index is not None and (processes := local_world_size()) > 1:
            raise UserError(
                f"device {name} puts all {processes} processes on one GPU; use cuda, which gives each its own"
            )
        if index >= torch.cuda.device_count():
            raise UserError(
                f"device {name}: GPU {index} does not exist, GPUs are counted from 0 and there are "
                f"{torch.cuda.device_count()}"
            )
        return torch.device("cuda", index)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("device mps: PyTorch finds no Apple GPU here; use cpu")
    return device


def describe(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({torch.get_num_threads()} threads)" if device.type == "cpu" else str(device)


def resolve_precision(name: str, device: torch.device) -> str:
    """'auto' is 'bf16' where the hardware multiplies bf16 matrices, else 'fp32'. Raises UserError for fp16 on a CPU."""
    if name == "fp16" and device.type == "cpu":
        raise UserError("precision fp16 is for GPUs; use bf16 or fp32 on the CPU")
    return ("bf16" if _has_bf16(device) else "fp32") if name == "auto" else name


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # PyTorch 2.6 does not have it
        return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return False


def autocast(device: torch.device, precision: str) -> torch.autocast:
    return torch.autocast(device.type, AUTOCAST.get(precision), enabled=precision in AUTOCAST)
