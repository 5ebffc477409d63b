import pytest
import torch

from utils.devices import autocast, resolve_device, resolve_precision
from utils.errors import UserError


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_cuda_without_cuda_is_an_error_never_a_fallback(name):
    with pytest.raises(UserError, match="no CUDA"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["gpu", "xpu", ""])
def test_unknown_devices_are_refused(name):
    with pytest.raises(UserError, match="unknown device"):
        resolve_device(name)


def test_precision_is_what_was_asked_for():
    cpu = resolve_device("cpu")
    assert resolve_precision("auto", cpu) in ("fp32", "bf16")
    a = torch.ones(4, 4)
    with autocast(cpu, resolve_precision("bf16", cpu)):
        assert (a @ a).dtype == torch.bfloat16
    with autocast(cpu, resolve_precision("fp32", cpu)):
        assert (a @ a).dtype == torch.float32
