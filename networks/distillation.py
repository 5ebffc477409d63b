"""A network that another one learns from."""

import torch
from torch import Tensor

from networks.folding import fold
from networks.weights.checkpoint import load_network
from networks.weights.info import CheckpointInfo
from utils.devices import autocast


class Teacher:
    """Weights whose predictions a network in training learns to give as well."""

    def __init__(self, path: str, student: CheckpointInfo, device: torch.device, precision: str):
        """student: what is trained; it must have the classes and the normalisation of the file. Raises UserError."""
        network, info = load_network(path)
        info.check_like(student, f"--teacher {path}")
        fold(network)
        self.network = network.to(device, memory_format=torch.channels_last).requires_grad_(False)
        self.precision = precision

    @torch.no_grad()
    def __call__(self, images: Tensor, trust: Tensor) -> Tensor:
        """Logits of the fused map, N x C x h x w float32; 0 for samples of trust 0, which are not computed.

        images: N x 3 x h x w, normalised. trust: N floats.
        """
        chosen = trust > 0
        logits = images.new_zeros(len(images), self.network.outconv.out_channels, *images.shape[2:])
        if chosen.any():
            with autocast(images.device, self.precision):
                logits[chosen] = self.network.fused(images[chosen]).float()
        return logits
