"""Write a network in other forms, by the suffix of the file."""

import io
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from networks.checkpoint import load_network, save_checkpoint
from networks.checkpoint_info import CheckpointInfo
from networks.converted import METADATA_KEY
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
        torch.jit.save(traced, str(target))


def export_onnx(network: nn.Module, info: CheckpointInfo, target: Path) -> None:
    write_atomically(target, onnx_model(network, info))


def onnx_model(network: nn.Module, info: CheckpointInfo) -> bytes:
    """ONNX (opset 17) of the fused map: N x 3 x h x w in, N x C x h x w logits out, any size, description inside."""
    import onnx

    buffer = io.BytesIO()
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Fused(network).eval(),
            (torch.zeros(1, 3, info.height, info.width),),
            buffer,
            opset_version=17,
            dynamo=False,  # the newer exporter needs onnxscript and writes this machine's paths into the file
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={name: {0: "batch", 2: "height", 3: "width"} for name in ("image", "logits")},
        )
    model = onnx.load_from_string(buffer.getvalue())
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(asdict(info))})
    return model.SerializeToString()


class _Fused(nn.Module):
    """The fused map alone, for exporters that take a module."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network.fused(x)


EXPORTERS: dict[str, Callable[[nn.Module, CheckpointInfo, Path], None]] = {
    ".pth": export_half,
    ".pt": export_torchscript,
    ".onnx": export_onnx,
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
