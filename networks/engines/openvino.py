"""OpenVINO as an engine, on the CPU."""

import importlib.metadata
import io
import itertools
import sys
from collections import deque
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock

import numpy as np

from utils.cache import cached, digest
from utils.errors import UserError
from utils.ranks import cores

# Without this, OpenVINO reports its use over the network and writes into the home folder.
sys.modules.setdefault("openvino_telemetry", None)


class OpenVinoEngine:
    """OpenVINO on the CPU: one image on all cores, or several at a time, each on its share of them.

    Cores that work on images of their own do not wait for one another. One input of several images is no faster than
    one image after the other, and takes more memory.
    """

    def __init__(self, model: bytes | Path, size: tuple[int, int], precision: str, threads: int | None = None):
        """model: ONNX as onnx_cache.py makes it, or an OpenVINO .xml. size: (h, w). precision: fp32 or bf16."""
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
