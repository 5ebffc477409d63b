"""Write a network in other forms, by the suffix of the file."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from networks.checkpoint import load_network, save_checkpoint
from networks.checkpoint_info import CheckpointInfo
from utils.errors import UserError
from utils.files import write_atomically

HALF_MAX = torch.finfo(torch.float16).max


def export_half(network: nn.Module, info: CheckpointInfo, target: Path) -> None:
    """A checkpoint with float16 weights. Raises UserError where they do not fit into half precision."""
    for key, tensor in network.state_dict().items():
        if tensor.is_floating_point() and bool((tensor.abs() > HALF_MAX).any()):
            raise UserError(f"{key} has values that half precision cannot hold (over {HALF_MAX:g})")
    save_checkpoint(target, network, info, half=True)


def export_torchscript(network: nn.Module, info: CheckpointInfo, target: Path) -> None:
    """TorchScript of the whole network: N x 3 x H x W in, the seven logit maps out, any size."""
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch has deprecated TorchScript; programs that load it are still there
        traced = torch.jit.trace(network, torch.zeros(1, 3, info.height, info.width))
        content = io.BytesIO()  # PyTorch aborts the process when it writes to a full disk itself
        torch.jit.save(traced, content)
    write_atomically(target, content.getvalue())


EXPORTERS: dict[str, Callable[[nn.Module, CheckpointInfo, Path], None]] = {
    ".pth": export_half,
    ".pt": export_torchscript,
}


def load_exported(path: Path) -> nn.Module:
    """The network of a file that an exporter wrote, with ``fused``, for comparing it with its source."""
    if path.suffix == ".pth":
        return load_network(path)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.load(str(path), map_location="cpu")
    return _Scripted(scripted)


class _Scripted(nn.Module):
    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def fused(self, x: Tensor) -> Tensor:
        return self.network(x)[0]
