"""OpenVINO as an engine, on the CPU."""

import hashlib
import importlib.metadata
import io
import sys
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock

import numpy as np

from networks.engines.hardware import check_not_forked
from networks.engines.settings import EngineSettings, check_installed
from networks.weights.info import METADATA_KEY, CheckpointInfo, description_of
from utils.cache_folder import cached
from utils.errors import UserError
from utils.ranks import cores

# Without this, OpenVINO reports its use over the network and writes into the home folder.
sys.modules.setdefault("openvino_telemetry", None)


class OpenVinoEngine:
    """OpenVINO on the CPU: one image on all cores, or several at a time, each on its share of them.

    Cores that work on images of their own do not wait for one another. One input of several images is no faster than
    one image after the other, and takes more memory.
    """

    def __init__(self, read: Callable[[], bytes | Path], key: str, size: tuple[int, int], settings: EngineSettings):
        """read: gives the model, ONNX or the path of an OpenVINO .xml; called where the cache has it not compiled.

        key: text that belongs to the model's content. size: (h, w). Raises UserError.
        """
        precision = openvino_precision(settings)
        import openvino

        core = openvino_core()
        hints = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            "ENABLE_CPU_PINNING": False,  # a pinned thread waits where another program has its core
        }
        if settings.threads:
            hints["INFERENCE_NUM_THREADS"] = settings.threads
        version = importlib.metadata.version("openvino")
        machine = hashlib.sha256(core.get_property("CPU", "FULL_DEVICE_NAME").encode()).hexdigest()[:8]
        # Not OpenVINO's own CACHE_DIR: that loads damaged files without a word, and gives wrong masks.
        name = f"{key}.{size[0]}x{size[1]}.{precision}.openvino-{version}.{machine}.blob"

        def compile_model() -> bytes:
            network = core.read_model(read())
            network.reshape([1, 3, *size])
            return core.compile_model(network, "CPU", hints).export_model().getvalue()

        compiled = cached(name, compile_model)  # at once: the file may be another one when the first image comes

        def queue(at_a_time: int):
            nonlocal compiled
            hint = {"NUM_STREAMS": at_a_time} if at_a_time > 1 else {"PERFORMANCE_HINT": "LATENCY"}
            content, compiled = compiled or cached(name, compile_model), None  # not kept: it is as large as the weights
            network = core.import_model(io.BytesIO(content), "CPU", hints | hint)
            return openvino.AsyncInferQueue(network, at_a_time)

        # Made when they are needed. Kept are the one for single images and the one for the largest batch.
        self._queue = lru_cache(2)(queue)
        self._cores, self._at_a_time = settings.threads or cores(), 1
        self._in_use = Lock()  # a queue serves one caller at a time
        self.name = f"cpu, {precision}, OpenVINO"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """See Engine."""
        check_not_forked()
        with self._in_use:
            self._at_a_time = max(self._at_a_time, min(len(images), self._cores))  # a folder's last batch is smaller
            queue = self._queue(self._at_a_time if len(images) > 1 else 1)
            logits = {}
            queue.set_callback(lambda request, i: logits.update({i: request.get_output_tensor(0).data.copy()}))
            for i, image in enumerate(images):
                queue.start_async({0: image[None]}, i)
            queue.wait_all()
            return np.concatenate([logits[i] for i in range(len(images))])


@cache
def openvino_core():
    """OpenVINO's Core, once: each one loads the plugin of the CPU again."""
    import openvino

    return openvino.Core()


def read_openvino_info(path: Path) -> CheckpointInfo:
    """What export.py wrote into an OpenVINO .xml. Raises UserError where it did not write the file."""
    check_installed("openvino")
    try:
        model = openvino_core().read_model(path)
    except RuntimeError:
        raise UserError(f"cannot read {path} as an OpenVINO model (damaged, or without its .bin)") from None
    place = ["framework", METADATA_KEY]
    if not model.has_rt_info(place):
        raise UserError(f"{path} is not a model that export.py wrote; give the weights that it was made from")
    return CheckpointInfo.of(description_of({METADATA_KEY: model.get_rt_info(place).astype(str)}, path), path)


def openvino_precision(settings: EngineSettings) -> str:
    """'fp32' or 'bf16', of what was asked for. Raises UserError for what OpenVINO cannot do here."""
    if settings.device not in ("auto", "cpu"):
        raise UserError(f"the engine openvino runs on the CPU, not on {settings.device}; use the engine torch")
    capable = "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if settings.precision == "auto":
        return "bf16" if capable else "fp32"
    if settings.precision == "fp16" or (settings.precision == "bf16" and not capable):
        raise UserError(f"OpenVINO has no precision {settings.precision} on this processor; use auto or fp32")
    return settings.precision
