"""Write a network in other forms, by the suffix of the file, and open them again to compare."""

import copy
import io
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.classes import CLOTHES
from data.constants import IMAGENET_MEAN, IMAGENET_STD
from networks.engines.choose import Engine
from networks.engines.onnxruntime_engine import OnnxRuntimeEngine
from networks.engines.openvino_engine import OpenVinoEngine, openvino_core
from networks.engines.settings import EngineSettings, check_installed, is_installed
from networks.engines.torch_engine import TorchEngine
from networks.onnx_graph import Fused, onnx_model
from networks.weights.checkpoint import load_network, save_checkpoint
from networks.weights.info import METADATA_KEY, CheckpointInfo
from utils.cache_folder import digest
from utils.errors import UserError, one_line
from utils.files import write_atomically

HALF_MAX = torch.finfo(torch.float16).max
REMBG_SIZE = 768  # height and width of the input that rembg feeds


def halved(network: nn.Module) -> nn.Module:
    """A copy with float16 weights. Raises UserError where they do not fit into half precision."""
    for key, tensor in network.state_dict().items():
        if tensor.is_floating_point() and bool((tensor.abs() > HALF_MAX).any()):
            raise UserError(f"{key} has values that half precision cannot hold (over {HALF_MAX:g})")
    return copy.deepcopy(network).half()


def export_half(network: nn.Module, info: CheckpointInfo, target: Path) -> None:
    """A checkpoint with float16 weights. Raises UserError."""
    save_checkpoint(target, halved(network), info)


def export_safetensors(network: nn.Module, info: CheckpointInfo, target: Path) -> None:
    """float16 weights as safetensors, with the description as one JSON text. Raises UserError."""
    try:
        from safetensors.torch import save
    except ImportError:
        raise UserError("writing .safetensors needs the package safetensors: pip install safetensors") from None
    state = {key: tensor.contiguous() for key, tensor in halved(network).state_dict().items()}
    # One key: safetensors writes several in random order, and the same weights would give other bytes.
    write_atomically(target, save(state, {METADATA_KEY: json.dumps(asdict(info))}))


def export_torchscript(network: nn.Module, info: CheckpointInfo, target: Path) -> None:
    """TorchScript of the fused map: N x 3 x H x W in, N x C x H x W logits out, any size; description inside."""
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch has deprecated TorchScript; programs that load it are still there
        traced = torch.jit.trace(Fused(network), torch.zeros(1, 3, info.height, info.width))
        content = io.BytesIO()  # PyTorch aborts the process when it writes to a full disk itself
        torch.jit.save(traced, content, _extra_files={METADATA_KEY: json.dumps(asdict(info))})
    write_atomically(target, content.getvalue())


def export_onnx(network: nn.Module, info: CheckpointInfo, target: Path) -> None:
    """ONNX of the fused map in the network's published form, which weights can be read from again."""
    write_atomically(target, onnx_model(Fused(network, published=True), info))


def export_openvino(network: nn.Module, info: CheckpointInfo, target: Path) -> None:
    """OpenVINO's .xml and .bin of the fused map, in float32. Raises UserError."""
    check_installed("openvino")
    import openvino

    model = openvino_core().read_model(onnx_model(Fused(network), info))
    try:
        openvino.save_model(model, target, compress_to_fp16=False)
    except RuntimeError as error:  # its words for a full disk are "basic_ios::clear: iostream error"
        raise UserError(f"cannot write {target}: {one_line(error)}; is the disk full?") from None


def export_rembg(network: nn.Module, info: CheckpointInfo, target: Path) -> None:
    """ONNX that rembg runs as its u2net_cloth_seg: 1 x 3 x 768 x 768 with ImageNet's normalisation in, logits out.

    The description inside is the network's own: whoever takes the weights out of the file needs that one.
    Raises UserError for other classes than the three that rembg knows.
    """
    if info.class_names != CLOTHES.names:
        raise UserError(f"rembg knows the classes {', '.join(CLOTHES.clothes)}; export these weights without --preset")
    write_atomically(target, onnx_model(ForRembg(network, info), info, size=(REMBG_SIZE, REMBG_SIZE)))


def write_description(info: CheckpointInfo, target: Path) -> None:
    """A JSON file with what a program needs to know to run an export: names, classes, size and normalisation."""
    fields = ("class_names", "height", "width", "mean", "std")
    content = {"input": "image", "output": "logits"} | {name: getattr(info, name) for name in fields}
    write_atomically(target, (json.dumps(content, indent=2) + "\n").encode())


EXPORTERS: dict[str, Callable[[nn.Module, CheckpointInfo, Path], None]] = {
    ".pth": export_half,
    ".safetensors": export_safetensors,
    ".pt": export_torchscript,
    ".onnx": export_onnx,
    ".xml": export_openvino,
}


def open_exported(path: Path, info: CheckpointInfo) -> Engine:
    """An engine that runs a file that an exporter wrote. Raises UserError where none is installed that can."""
    size, settings = (info.height, info.width), EngineSettings(device="cpu", precision="fp32")
    if path.suffix == ".xml":
        return OpenVinoEngine(lambda: path, digest(path, path.with_suffix(".bin")), size, settings)
    if path.suffix == ".onnx":
        if is_installed("onnxruntime"):
            return OnnxRuntimeEngine(path.read_bytes(), settings)
        if is_installed("openvino"):
            return OpenVinoEngine(path.read_bytes, digest(path), size, settings)
        raise UserError("checking an .onnx file needs an engine that runs it: pip install onnxruntime")
    if path.suffix == ".pt":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return TorchEngine(torch.jit.load(io.BytesIO(path.read_bytes()), map_location="cpu"), torch.device("cpu"))
    return TorchEngine(load_network(path)[0], torch.device("cpu"))


class ForRembg(nn.Module):
    """A network behind the input that rembg makes: 768x768, ImageNet's normalisation.

    The change of normalisation is not folded into the first convolution, whose padding with zeros would then stand
    for another colour. The picture is reduced to the network's own size and the logits are enlarged again.
    """

    def __init__(self, network: nn.Module, info: CheckpointInfo):
        super().__init__()
        self.network, self.size = network, (info.height, info.width)
        mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        self.register_buffer("scale", std / info.std)
        self.register_buffer("shift", (mean - info.mean) / info.std)

    def forward(self, x: Tensor) -> Tensor:
        """1 x 3 x 768 x 768 -> 1 x C x 768 x 768 logits."""
        x = x * self.scale + self.shift
        if self.size == (REMBG_SIZE, REMBG_SIZE):
            return self.network(x)[0]
        # Bilinear to a multiple of the network's size, then means of whole blocks: every pixel counts.
        blocks = [max(1, REMBG_SIZE // side) for side in self.size]
        x = F.interpolate(x, [side * n for side, n in zip(self.size, blocks, strict=True)], mode="bilinear")
        logits = self.network(F.avg_pool2d(x, blocks))[0]
        return F.interpolate(logits, (REMBG_SIZE, REMBG_SIZE), mode="bilinear")
