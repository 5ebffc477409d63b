"""Device and precision are what was asked for, or an error: never a silent fallback."""

import pytest
import torch

from utils.devices import autocast, resolve_device, resolve_precision
from utils.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_cuda_without_cuda_is_an_error_never_a_fallback(name):
    with pytest.raises(UserError, match="no CUDA"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["gpu", "xpu", "", "cuda:x", "meta"])
def test_unknown_devices_are_refused(name):
    with pytest.raises(UserError, match="unknown device"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_each_process_of_a_machine_has_a_gpu_of_its_own(name, two_gpus):
    assert [resolve_device(name, rank, 2) for rank in (0, 1)] == [torch.device("cuda", 0), torch.device("cuda", 1)]
    with pytest.raises(UserError, match="GPU 2 does not exist.*there are 2"):
        resolve_device(name, 2, 3)


@pytest.mark.parametrize("rank", [0, 1])
def test_one_gpu_for_all_processes_is_refused_by_each(rank, two_gpus):
    with pytest.raises(UserError, match="device cuda:0 puts all 2 processes on one GPU; use cuda"):
        resolve_device("cuda:0", rank, 2)


def test_a_single_process_may_choose_its_gpu(two_gpus):
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    assert resolve_device("cuda:1", 0, 1) == torch.device("cuda", 1)
    with pytest.raises(UserError, match="GPU 5 does not exist"):
        resolve_device("cuda:5")


def test_precision_is_what_was_asked_for():
    assert resolve_precision("auto", CPU) in ("fp32", "bf16")
    a = torch.ones(4, 4)
    for precision, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        with autocast(CPU, resolve_precision(precision, CPU)):
            assert (a @ a).dtype == dtype


def test_fp16_is_for_gpus():
    assert resolve_precision("fp16", torch.device("cuda", 0)) == "fp16"
    with pytest.raises(UserError, match="precision fp16 is for GPUs; use bf16 or fp32 on the CPU"):
        resolve_precision("fp16", CPU)
    with autocast(CPU, "fp16"):  # the CPU's autocast stands for the GPU's here
        assert (torch.ones(4, 4) @ torch.ones(4, 4)).dtype == torch.float16


def test_auto_never_picks_fp16(monkeypatch):
    """An old GPU keeps fp32, which needs no scaler: the published recipe."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert resolve_precision("auto", torch.device("cuda", 0)) == "fp32"
