"""Chooses and loads the engine that runs a network: PyTorch, OpenVINO or ONNX Runtime."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from networks.engines.hardware import cpu_has_bf16, may_have_gpu
from networks.engines.onnx_cache import converted_onnx, read_info
from networks.engines.onnxruntime import OnnxRuntimeEngine
from networks.engines.openvino import OpenVinoEngine, openvino_precision
from networks.weights.info import CheckpointInfo
from utils.errors import UserError
from utils.ranks import share_of_cores

ENGINES = ("torch", "openvino", "onnxruntime")


class Engine(Protocol):
    """A network that is ready to run.

    name: engine, device and precision, for the "device:" line of the programs.
    """

    name: str

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Normalised images N x 3 x h x w float32 -> logits of the fused map d0, N x C x h x w float32."""
        ...


def load_engine(
    path: str | Path,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    height: int | None = None,
    width: int | None = None,
    threads: int | None = None,
    compiled: bool = False,
) -> tuple[Engine, CheckpointInfo]:
    """An engine that runs a weight file, and what the file says of itself, at another size if that is given.

    engine: 'auto' or one of ENGINES. device: 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'. precision: 'auto', 'fp32',
    'bf16' or 'fp16'. threads: on the CPU; default: under a launcher this process's share of the cores, else what the
    engine takes. compiled: with torch.compile, by PyTorch alone. Raises UserError.
    """
    if compiled and engine not in ("auto", "torch"):
        raise UserError(f"--compile is for PyTorch; leave it out with --engine {engine}")
    engine, threads = choose_engine("torch" if compiled else engine, device, precision), threads or share_of_cores()
    if engine == "torch":
        from networks.engines.torch_engine import load_torch_engine

        built, info = load_torch_engine(path, device, precision, threads, compiled)
        return built, replace(info, height=height or info.height, width=width or info.width)
    info = read_info(path)
    info = replace(info, height=height or info.height, width=width or info.width)
    size = info.height, info.width
    if engine == "openvino":
        precision = openvino_precision(device, precision)
        return OpenVinoEngine(converted_onnx(path, precision == "bf16"), size, precision, threads), info
    return OnnxRuntimeEngine(converted_onnx(path), device, precision, threads), info


def choose_engine(engine: str, device: str, precision: str = "auto") -> str:
    """The engine that was asked for, or with 'auto' the fastest that is installed. Raises UserError.

    PyTorch serves GPUs. On a CPU it is OpenVINO; without it, ONNX Runtime where the processor has no bf16, which it
    does not use, else PyTorch. Where one of them cannot compute in ``precision``, it is the next.
    """
    if engine == "auto":
        if device not in ("auto", "cpu") or (device == "auto" and may_have_gpu()):
            return "torch"
        usual, bf16 = precision in ("auto", "fp32"), cpu_has_bf16()
        if _installed("openvino") and (usual or (precision == "bf16" and bf16)):
            return "openvino"
        return "onnxruntime" if _installed("onnxruntime") and usual and not bf16 else "torch"
    if not _installed(engine):
        raise UserError(f"--engine {engine} is not installed: pip install {engine}")
    return engine


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
