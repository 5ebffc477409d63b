"""Batch norms that were folded into the convolutions before them, as ONNX exports have it."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def batch_norms(network: nn.Module) -> dict[str, nn.BatchNorm2d]:
    return {name: m for name, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}


def identity_norm(channels: int) -> dict[str, Tensor]:
    """State of a batch norm that is the identity in eval mode, for a convolution that has its own folded in."""
    norm = nn.BatchNorm2d(channels)  # mean 0, variance 1
    return norm.state_dict() | {"weight": torch.sqrt(norm.running_var + norm.eps)}


def is_folded(network: nn.Module) -> bool:
    """Whether no batch norm has ever seen data, as with identity_norm."""
    return not any((n.running_mean != 0).any() or (n.running_var != 1).any() for n in batch_norms(network).values())


@torch.no_grad()
def restore_statistics(network: nn.Module, images: Iterable[Tensor]) -> int:
    """Give identity batch norms real statistics without changing what the network computes.

    A folded convolution already yields the wanted z, and its batch norm is the identity. One pass over
    ``images`` (each N x 3 x H x W, normalised) measures the mean m and variance v of every z. Then
    running_mean = m, running_var = v, weight = sqrt(v + eps), bias = m gives, in eval mode,
    weight * (z - m) / sqrt(v + eps) + bias = z as before; and in train mode, where a batch's own m and v
    stand in, nearly so. Training therefore starts from the published function with batch norm at work. What the
    network computes does not change on the way, and one pass serves all layers.
    """
    norms = batch_norms(network)
    sums = {name: torch.zeros(2, n.num_features, dtype=torch.float64) for name, n in norms.items()}
    pixels = dict.fromkeys(norms, 0)

    def measure(name: str):
        def hook(module: nn.Module, inputs: tuple[Tensor]) -> None:
            z = inputs[0].float()
            sums[name] += torch.stack((z.sum((0, 2, 3)), z.square().sum((0, 2, 3)))).double().cpu()
            pixels[name] += z.numel() // z.shape[1]

        return hook

    hooks = [norm.register_forward_pre_hook(measure(name)) for name, norm in norms.items()]
    was_training = network.training
    network.eval()
    count = 0
    for batch in images:
        network(batch)
        count += len(batch)
    for hook in hooks:
        hook.remove()
    for name, norm in norms.items():
        mean, square = sums[name] / max(pixels[name], 1)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_((square - mean.square()).clamp_min(1e-8))  # a dead channel keeps a finite scale
        norm.weight.copy_(torch.sqrt(norm.running_var + norm.eps))
        norm.bias.copy_(norm.running_mean)
    network.train(was_training)
    return count
