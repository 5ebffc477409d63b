"""Chooses and loads the engine that runs a network: PyTorch, OpenVINO or ONNX Runtime."""

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from networks.engines.hardware import check_not_forked, cpu_has_bf16, may_have_gpu
from networks.engines.onnx_cache import CachedWeights
from networks.engines.onnxruntime_engine import OnnxRuntimeEngine
from networks.engines.openvino_engine import OpenVinoEngine
from networks.engines.settings import EngineSettings, check_installed, is_installed
from networks.weights.info import CheckpointInfo
from utils.errors import UserError
from utils.ranks import share_of_cores


class Engine(Protocol):
    """A network that is ready to run.

    name: engine, device and precision, for the "device:" line of the programs.
    """

    name: str

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Normalised images N x 3 x h x w float32 -> logits of the fused map d0, N x C x h x w float32."""
        ...


def load_engine(
    path: str | Path, settings: EngineSettings, height: int | None = None, width: int | None = None
) -> tuple[Engine, CheckpointInfo]:
    """An engine that runs a weight file, and what the file says of itself, at another size if one is given.

    Raises UserError.
    """
    if Path(path).suffix.lower() == ".xml":
        if settings.engine not in ("auto", "openvino"):
            raise UserError(f"{path} runs with the engine openvino; for {settings.engine} give the weights themselves")
        settings = replace(settings, engine="openvino")
    engine = choose_engine(settings)
    settings = replace(settings, engine=engine, threads=settings.threads or share_of_cores())
    if engine == "torch":
        from networks.engines.torch_engine import load_torch_engine

        loaded, info = load_torch_engine(path, settings)
        return loaded, info.resized(height, width)
    check_not_forked()
    weights = CachedWeights(path)
    info = weights.info.resized(height, width)
    if engine == "onnxruntime":
        return OnnxRuntimeEngine(weights.model(), settings), info
    return OpenVinoEngine(weights.model, weights.key, (info.height, info.width), settings), info


def choose_engine(settings: EngineSettings) -> str:
    """The engine that was asked for, or with 'auto' the fastest that is installed. Raises UserError.

    PyTorch serves GPUs. On a CPU it is OpenVINO; without it, ONNX Runtime where the processor has no bf16, which it
    does not use, else PyTorch. Where one of them cannot compute in the precision, it is the next.
    """
    if settings.engine != "auto":
        check_installed(settings.engine)
        return settings.engine
    on_cpu = settings.device == "cpu" or (settings.device == "auto" and not may_have_gpu())
    if settings.compiled or not on_cpu:
        return "torch"
    usual, bf16 = settings.precision in ("auto", "fp32"), cpu_has_bf16()
    if is_installed("openvino") and (usual or (settings.precision == "bf16" and bf16)):
        return "openvino"
    return "onnxruntime" if is_installed("onnxruntime") and usual and not bf16 else "torch"
