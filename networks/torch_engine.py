"""PyTorch as an engine."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from networks.checkpoint import load_network
from networks.checkpoint_info import CheckpointInfo
from networks.folding import fold
from networks.u2net import REBNCONV
from utils.devices import autocast, describe, resolve_device, resolve_precision
from utils.launcher import local_rank, local_world_size

LARGE_BIAS = 50  # of activations that are about 1


class TorchEngine:
    """PyTorch in channels-last, the faster memory format on CPUs and GPUs alike, with batch norm folded."""

    def __init__(self, network: nn.Module, device: torch.device, precision: str = "fp32"):
        """network: taken over, put in eval mode and folded. precision: 'fp32', or 'bf16' or 'fp16' (autocast)."""
        fold(network.eval())
        if precision != "fp32":
            keep_precise(network)
        self.network = network.to(device, memory_format=torch.channels_last)
        self.device, self.precision = device, precision
        self.name = f"{describe(device)}, {precision}, PyTorch"

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """See networks.engines.Engine."""
        batch = torch.from_numpy(images).to(self.device, memory_format=torch.channels_last)
        with autocast(self.device, self.precision):
            return self.network.fused(batch).float().cpu().numpy()


class Precise(nn.Module):
    """A block that computes in fp32 where the network around it does not."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.block(x.float())


def keep_precise(network: nn.Module) -> None:
    """Let the blocks of a folded network that cancel large numbers compute in fp32.

    A folded bias is large where the batch norm's mean was far larger than its deviation. The convolution then yields
    nearly the same large number at each pixel, and what is left after the bias is mostly rounding in bf16. Of the
    included weights these are four of 112 blocks. They decide nearly all of the pixels whose label bf16 changes.
    """
    for parent in list(network.modules()):
        for name, block in list(parent.named_children()):
            if isinstance(block, REBNCONV) and block.conv_s1.bias.abs().max() > LARGE_BIAS:
                setattr(parent, name, Precise(block))


def load_torch_engine(
    path: str | Path, device: str, precision: str, threads: int | None = None
) -> tuple[TorchEngine, CheckpointInfo]:
    """Engine of a weight file, and what the file says of itself. threads: of this process. Raises UserError."""
    chosen = resolve_device(device, local_rank(), local_world_size())
    if threads:
        torch.set_num_threads(threads)
    network, info = load_network(path)
    return TorchEngine(network, chosen, resolve_precision(precision, chosen)), info
