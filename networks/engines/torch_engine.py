"""PyTorch as an engine."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from networks.engines.hardware import check_not_forked
from networks.engines.settings import EngineSettings
from networks.folding import fold
from networks.weights.checkpoint import load_network
from networks.weights.info import CheckpointInfo
from utils.devices import autocast, describe, resolve_device, resolve_precision


class TorchEngine:
    """PyTorch in channels-last, the faster memory format on CPUs and GPUs alike, with batch norm folded."""

    def __init__(self, network: nn.Module, device: torch.device, precision: str = "fp32", compiled: bool = False):
        """network: taken over, put in eval mode and folded; or a module that gives the fused map, from a file.

        precision: 'fp32', or 'bf16' or 'fp16' (autocast). compiled: with torch.compile, when it is first used.
        """
        fold(network.eval())
        network.to(device, memory_format=torch.channels_last)
        fused = getattr(network, "fused", network)
        self.forward = torch.compile(fused) if compiled else fused
        self.device, self.precision = device, precision
        self.name = f"{describe(device)}, {precision}, PyTorch"

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """See networks.engines.choose.Engine."""
        _check_not_forked(self.device)
        batch = torch.from_numpy(images).to(self.device, memory_format=torch.channels_last)
        with autocast(self.device, self.precision):
            return self.forward(batch).float().cpu().numpy()


def load_torch_engine(path: str | Path, settings: EngineSettings) -> tuple[TorchEngine, CheckpointInfo]:
    """Engine of a weight file, and what the file says of itself. Raises UserError."""
    device = resolve_device(settings.device)
    precision = resolve_precision(settings.precision, device)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    _check_not_forked(device)
    network, info = load_network(path)
    return TorchEngine(network, device, precision, settings.compiled), info


def _check_not_forked(device: torch.device) -> None:
    check_not_forked(single_thread=device.type == "cpu" and torch.get_num_threads() == 1)
