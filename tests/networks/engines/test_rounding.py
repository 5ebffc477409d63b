import copy

import torch

from networks.engines.rounding import as_dtype, round_weights
from networks.folding import fold
from tests.helpers import trained_like

as_bf16 = as_dtype(torch.bfloat16)


def network_that_cancels_large_numbers():
    """Folded; one block takes about a thousand from nearly the same number, as trained networks do."""
    network = trained_like("u2netp", 4)
    fold(network)
    with torch.no_grad():
        before, block = network.stage2d.rebnconv2d.conv_s1, network.stage2d.rebnconv1d.conv_s1
        before.bias[0] += 1000  # its output hardly varies now
        x = torch.zeros(1, 3, 96, 96)
        outputs = []
        hook = block.register_forward_hook(lambda module, inputs, output: outputs.append(output))
        network.fused(x)
        hook.remove()
        block.bias -= outputs[0].mean((0, 2, 3))
    return network


@torch.inference_mode()
def test_biases_make_up_for_rounded_weights():
    network, x = network_that_cancels_large_numbers(), torch.randn(2, 3, 96, 96)
    expected = network.fused(x)
    rounded, corrected = copy.deepcopy(network), copy.deepcopy(network)
    for module in rounded.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.copy_(as_bf16(module.weight))
    round_weights(corrected, as_bf16)
    assert torch.equal(corrected.stage1.rebnconv1.conv_s1.weight, rounded.stage1.rebnconv1.conv_s1.weight)
    assert (corrected.fused(x) - expected).abs().mean() < 0.2 * (rounded.fused(x) - expected).abs().mean()


def test_weights_that_bf16_holds_already_change_nothing():
    network = trained_like("u2netp", 4)
    fold(network)
    round_weights(network, as_bf16)
    before = copy.deepcopy(network.state_dict())
    round_weights(network, as_bf16)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
