"""ONNX Runtime as an engine."""

import os
import warnings

import numpy as np

from networks.engines.hardware import may_have_gpu
from utils.errors import UserError
from utils.ranks import local_rank, local_world_size

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it reports its use over the network


class OnnxRuntimeEngine:
    """ONNX Runtime: on the CPU, with CUDA, or on Apple's chips."""

    def __init__(self, model: bytes, device: str, precision: str, threads: int | None = None):
        """model: ONNX as networks/engines/onnx_cache.py makes it. Raises UserError."""
        if precision not in ("auto", "fp32"):
            raise UserError(f"--engine onnxruntime computes in fp32, not in {precision}; use --precision auto")
        import onnxruntime

        kind, _, index = device.partition(":")
        if kind == "auto":  # the providers are those that were built in, with or without a GPU
            built_in = onnxruntime.get_available_providers()
            kind = "cuda" if "CUDAExecutionProvider" in built_in and may_have_gpu() else "cpu"
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
