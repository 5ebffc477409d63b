"""Device and precision are what was asked for, or an error: never a silent fallback."""

import pytest
import torch

from utils.devices import resolve_device, resolve_precision
from utils.errors import UserError


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_cuda_is_an_error_never_a_fallback():
    with pytest.raises(UserError, match="no CUDA"):
        resolve_device("cuda")


@pytest.mark.parametrize(
    ("name", "local_rank", "expected"),
    [
        ("auto", 1, 1), ("cuda", 1, 1),  # each process has its own
        ("cuda", 2, "GPU 2 does not exist.*there are 2"), ("cuda:1", None, 1), ("meta", None, "unknown device"),
        ("cuda:0", 1, "device cuda:0 puts all 3 processes on one GPU; use cuda"), ("gpu", None, "unknown device"),
    ],
)  # fmt: skip
def test_the_gpu_of_a_process_or_why_it_has_none(name, local_rank, expected, launched, monkeypatch):
    if local_rank is not None:
        launched(RANK=local_rank, WORLD_SIZE=3, LOCAL_RANK=local_rank, LOCAL_WORLD_SIZE=3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    if isinstance(expected, int):
        assert resolve_device(name) == torch.device("cuda", expected)
    else:
        with pytest.raises(UserError, match=expected):
            resolve_device(name)


@pytest.mark.parametrize(
    ("asked", "device", "expected"),
    [("bf16", "cpu", "bf16"), ("fp16", "cuda:0", "fp16"), ("auto", "cuda:0", "fp32"),
     ("fp16", "cpu", "precision fp16 is for GPUs; use bf16 or fp32 on the CPU")],
)  # fmt: skip
def test_precision_is_what_was_asked_for(asked, device, expected, monkeypatch):
    """On an old GPU auto is fp32, the published recipe."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    if " " in expected:
        with pytest.raises(UserError, match=expected):
            resolve_precision(asked, torch.device(device))
    else:
        assert resolve_precision(asked, torch.device(device)) == expected
