"""Engines: what runs a network on normalised images."""

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

from networks.checkpoint import load_network
from networks.checkpoint_info import CheckpointInfo
from utils.devices import autocast, describe, resolve_device, resolve_precision


class Engine(Protocol):
    """A network that is ready to run.

    name: the device and precision it uses, for the "device:" line of the programs.
    """

    name: str

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Normalised images N x 3 x h x w float32 -> logits of the fused map d0, N x C x h x w float32."""
        ...


class TorchEngine:
    """PyTorch, in channels-last, the faster memory format on CPUs and GPUs alike."""

    def __init__(self, network: nn.Module, device: torch.device, precision: str = "fp32"):
        """network: taken over and put in eval mode. precision: 'fp32' or 'bf16' (autocast)."""
        self.network = network.eval().to(device, memory_format=torch.channels_last)
        self.device, self.precision = device, precision
        self.name = f"{describe(device)}, {precision}"

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        batch = torch.from_numpy(images).to(self.device, memory_format=torch.channels_last)
        with autocast(self.device, self.precision):
            return self.network.fused(batch).float().cpu().numpy()


def load_engine(path: str | Path, device: str = "auto", precision: str = "auto") -> tuple[Engine, CheckpointInfo]:
    """An engine that runs a weight file, and what the file says of itself. Raises UserError."""
    chosen = resolve_device(device)
    network, info = load_network(path)
    return TorchEngine(network, chosen, resolve_precision(precision, chosen)), info
