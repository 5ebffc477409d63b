"""Weights in fewer bits, without the error that this would add to every pixel."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

PROBE_SIZE = 64  # height and width of a grey picture


@torch.no_grad()
def round_weights(network: nn.Module, rounded: Callable[[Tensor], Tensor]) -> None:
    """Round the weights of a folded network, and let the biases make up for it.

    rounded: of a convolution's weights, those that will be computed with, in the same dtype; such as
    ``as_dtype`` makes.

    A rounded convolution is off by (rounding error) * (input). The mean of that is the same at every pixel and can be
    added to the bias (bias correction: Nagel et al., "Data-free quantization through weight equalization and bias
    correction", ICCV 2019). It matters where a large input hardly varies: of weights that were included earlier in four
    of 112 blocks, which take 744 and less from nearly the same number. Such inputs have nearly the same mean in every
    picture, so that of a grey one serves.
    """
    for convolution, inputs in _mean_inputs(network).items():
        weight = rounded(convolution.weight)
        convolution.bias += (convolution.weight - weight).sum((2, 3)) @ inputs
        convolution.weight.copy_(weight)


def as_dtype(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """A function that gives what ``dtype`` makes of weights."""
    return lambda weight: weight.to(dtype).to(weight.dtype)


def _mean_inputs(network: nn.Module) -> dict[nn.Conv2d, Tensor]:
    """Mean of each input channel of the convolutions, over a grey picture."""
    means: dict[nn.Conv2d, Tensor] = {}

    def measure(convolution: nn.Module, inputs: tuple[Tensor]) -> None:
        means[convolution] = inputs[0].mean((0, 2, 3))

    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    hooks = [convolution.register_forward_pre_hook(measure) for convolution in convolutions]
    network.fused(torch.zeros(1, 3, PROBE_SIZE, PROBE_SIZE, device=convolutions[0].weight.device))
    for hook in hooks:
        hook.remove()
    return means
