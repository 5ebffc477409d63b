"""Engines: what runs a network on normalised images.

PyTorch, OpenVINO and ONNX Runtime are imported here alone for prediction, each only when it is chosen.
"""

import importlib.metadata
import importlib.util
import io
import itertools
import os
import shutil
import sys
import warnings
from collections import deque
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np

from networks.checkpoint_info import CheckpointInfo
from networks.converted import converted_onnx, read_info
from utils.cache import cached, digest
from utils.errors import UserError
from utils.launcher import cores, local_rank, local_world_size, share_of_cores

# OpenVINO and ONNX Runtime report their use over the network and write into the home folder, unless they are told
# otherwise before they are imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
sys.modules.setdefault("openvino_telemetry", None)

ENGINES = ("torch", "openvino", "onnxruntime")
GPU_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, Windows' subsystem for Linux
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}  # of /proc/cpuinfo


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
        from networks.torch_engine import load_torch_engine

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
        if device not in ("auto", "cpu") or (device == "auto" and _may_have_gpu()):
            return "torch"
        usual, bf16 = precision in ("auto", "fp32"), _cpu_has_bf16()
        if _installed("openvino") and (usual or (precision == "bf16" and bf16)):
            return "openvino"
        return "onnxruntime" if _installed("onnxruntime") and usual and not bf16 else "torch"
    if not _installed(engine):
        raise UserError(f"--engine {engine} is not installed: pip install {engine}")
    return engine


class OpenVinoEngine:
    """OpenVINO on the CPU: one image on all cores, or several at a time, each on its share of them.

    Cores that work on images of their own do not wait for one another. One input of several images is no faster than
    one image after the other, and takes more memory.
    """

    def __init__(self, model: bytes | Path, size: tuple[int, int], precision: str, threads: int | None = None):
        """model: ONNX as networks/converted.py makes it, or an OpenVINO .xml. size: (h, w). precision: fp32 or bf16."""
        core = openvino_core()
        settings = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            "ENABLE_CPU_PINNING": False,  # a pinned thread waits where another program has its core
        }
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        version = importlib.metadata.version("openvino")
        machine = digest(core.get_property("CPU", "FULL_DEVICE_NAME").encode())[:8]
        # An .xml keeps its weights in the .bin beside it.
        parts = [model] if isinstance(model, bytes) else [model, model.with_suffix(".bin")]
        name = f"{digest(*parts)}.{size[0]}x{size[1]}.{precision}.openvino-{version}.{machine}.blob"

        def compile_model() -> bytes:
            network = core.read_model(model)
            network.reshape([1, 3, *size])
            return core.compile_model(network, "CPU", settings).export_model().getvalue()

        def requests(at_a_time: int) -> list:
            hint = {"NUM_STREAMS": at_a_time} if at_a_time > 1 else {"PERFORMANCE_HINT": "LATENCY"}
            network = core.import_model(io.BytesIO(cached(name, compile_model)), "CPU", settings | hint)
            return [network.create_infer_request() for _ in range(at_a_time)]

        # Made when they are needed. Kept are those for single images and those for the largest batch.
        self._requests = lru_cache(2)(requests)
        self._cores, self._at_a_time = threads or cores(), 1
        self._in_use = Lock()  # a request serves one caller at a time
        self.name = f"cpu, {precision}, OpenVINO"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """See Engine."""
        with self._in_use:
            return self._logits(images)

    def _logits(self, images: np.ndarray) -> np.ndarray:
        self._at_a_time = max(self._at_a_time, min(len(images), self._cores))  # the last batch of a folder is smaller
        requests = self._requests(self._at_a_time if len(images) > 1 else 1)
        logits, running = [], deque()

        def finish_one() -> None:
            request = running.popleft()
            request.wait()
            logits.append(request.get_output_tensor(0).data.copy())

        for image, request in zip(images, itertools.cycle(requests), strict=False):
            if len(running) == len(requests):
                finish_one()
            request.start_async({0: image[None]})
            running.append(request)
        while running:
            finish_one()
        return np.concatenate(logits)


@cache
def openvino_core():
    """OpenVINO's Core, once: each one loads the plugin of the CPU anew."""
    import openvino

    return openvino.Core()


def openvino_precision(device: str, precision: str) -> str:
    """'fp32' or 'bf16', of what was asked for. Raises UserError for what OpenVINO cannot do here."""
    if device not in ("auto", "cpu"):
        raise UserError(f"--engine openvino runs on the CPU, not on {device}; use --engine torch")
    capable = "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "auto":
        return "bf16" if capable else "fp32"
    if precision not in ("fp32", "bf16") or (precision == "bf16" and not capable):
        raise UserError(f"--precision {precision} is not for OpenVINO on this processor; use auto or fp32")
    return precision


class OnnxRuntimeEngine:
    """ONNX Runtime: on the CPU, with CUDA, or on Apple's chips."""

    def __init__(self, model: bytes, device: str, precision: str, threads: int | None = None):
        """model: ONNX as networks/converted.py makes it. Raises UserError."""
        if precision not in ("auto", "fp32"):
            raise UserError(f"--engine onnxruntime computes in fp32, not in {precision}; use --precision auto")
        import onnxruntime

        kind, _, index = device.partition(":")
        if kind == "auto":  # the providers are those that were built in, with or without a GPU
            built_in = onnxruntime.get_available_providers()
            kind = "cuda" if "CUDAExecutionProvider" in built_in and _may_have_gpu() else "cpu"
        providers = {
            "cpu": "CPUExecutionProvider",
            "cuda": ("CUDAExecutionProvider", {"device_id": int(index or local_rank())}),
            "mps": ("CoreMLExecutionProvider", {"ModelFormat": "MLProgram"}),
        }
        if kind not in providers or (index and not index.isdigit()):
            raise UserError(f"unknown device {device!r}; use auto, cpu, cuda, cuda:N or mps")
        if index and local_world_size() > 1:
            raise UserError(f"--device {device} puts all processes on one GPU; use --device cuda, one for each")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or 0  # 0: as it likes
        # Threads that wait in a loop would take the processor from the threads that decode photographs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a missing provider is an error below
            self._session = onnxruntime.InferenceSession(model, options, providers=[providers[kind]])
        wanted = providers[kind] if isinstance(providers[kind], str) else providers[kind][0]
        if self._session.get_providers()[0] != wanted:
            raise UserError(
                f"--device {device}: this ONNX Runtime cannot use it; pip install onnxruntime-gpu, or use cpu"
            )
        self.name = f"{device if kind != 'cpu' else 'cpu'}, fp32, ONNX Runtime"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """See Engine."""
        return self._session.run(None, {"image": images})[0]


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _may_have_gpu() -> bool:
    """Whether it is worth importing PyTorch to look for a GPU."""
    if sys.platform == "linux":
        return any(Path(path).exists() for path in GPU_FILES)
    return sys.platform == "darwin" or shutil.which("nvidia-smi") is not None


def _cpu_has_bf16() -> bool:
    try:
        return bool(BF16_FLAGS & set(Path("/proc/cpuinfo").read_text().split()))
    except OSError:
        return False
