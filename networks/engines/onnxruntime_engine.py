"""ONNX Runtime as an engine."""

import os

import numpy as np

from networks.engines.hardware import check_not_forked, may_have_gpu
from networks.engines.settings import EngineSettings
from utils.errors import UserError
from utils.ranks import local_rank, local_world_size

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it reports its use over the network


class OnnxRuntimeEngine:
    """ONNX Runtime: on the CPU, with CUDA, or on Apple's chips."""

    def __init__(self, model: bytes, settings: EngineSettings):
        """model: ONNX as networks/engines/onnx_cache.py makes it. Raises UserError."""
        if settings.precision not in ("auto", "fp32"):
            raise UserError(f"the engine onnxruntime computes in fp32, not in {settings.precision}; use auto")
        import onnxruntime

        kind, _, index = settings.device.partition(":")
        built_in = onnxruntime.get_available_providers()  # with or without a GPU
        if kind == "auto":
            kind = "cuda" if "CUDAExecutionProvider" in built_in and may_have_gpu() else "cpu"
        if index and local_world_size() > 1:
            raise UserError(f"device {settings.device} puts all processes on one GPU; use cuda, one for each")
        provider, arguments = {
            "cpu": ("CPUExecutionProvider", {}),
            "cuda": ("CUDAExecutionProvider", {"device_id": int(index or local_rank())}),
            "mps": ("CoreMLExecutionProvider", {"ModelFormat": "MLProgram"}),
        }[kind]
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = settings.threads or 0  # 0: as it likes
        # Threads that wait in a loop would take the processor from the threads that decode photographs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if provider in built_in:
            self._session = onnxruntime.InferenceSession(model, options, providers=[(provider, arguments)])
        if provider not in built_in or self._session.get_providers()[0] != provider:
            raise UserError(
                f"device {settings.device}: this ONNX Runtime cannot use it; pip install onnxruntime-gpu, or use cpu"
            )
        self.name = f"{kind if settings.device == 'auto' else settings.device}, fp32, ONNX Runtime"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """See Engine."""
        check_not_forked()
        return self._session.run(None, {"image": images})[0]
