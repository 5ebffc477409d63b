import pytest
import torch
from torch import nn

from networks.u2net import build_network, halve
from tests.helpers import shared, trained_like

NAMES = pytest.mark.parametrize(("name", "parameters"), [("u2net", 44_051_452), ("u2netp", 1_141_660)])


def outline(name: str) -> nn.Module:
    """The network without values: to build is quick."""
    with torch.device("meta"):
        return build_network(name, 4)


@NAMES
def test_parameters_are_as_many_as_published_and_in_the_order_of_the_state_dict(name, parameters):
    """An optimiser's state is indexed by position; another order would load into the wrong tensors in silence."""
    network = outline(name)
    assert sum(p.numel() for p in network.parameters()) == parameters
    named = [key for key, _ in network.named_parameters()]
    assert named == [key for key in network.state_dict() if key in set(named)]


@NAMES
def test_keys_shapes_and_order_are_the_published_ones(name, parameters):
    lines = shared(f"reference/{name}_state_dict.tsv").read_text().splitlines()[1:]
    found = [(k, "x".join(map(str, v.shape)) or "scalar") for k, v in outline(name).state_dict().items()]
    assert found == [tuple(line.split("\t")) for line in lines]


@pytest.mark.parametrize(("name", "classes"), [("u2net", 4), ("u2netp", 1)])
def test_any_size_from_32_gives_seven_maps_of_that_size_the_first_of_which_is_the_fused_one(name, classes):
    network = trained_like(name, classes)
    assert halve(torch.zeros(1, 1, 33, 47)).shape[2:] == (17, 24)  # as published, half a pixel is one
    for size in ((32, 32), (33, 47), (97, 131)):
        x = torch.randn(2, 3, *size)
        with torch.inference_mode():
            outputs, fused = network(x), network.fused(x)
        assert [tuple(each.shape) for each in (*outputs, fused)] == [(2, classes, *size)] * 8
        assert (fused - outputs[0]).abs().max() < 1e-5 * outputs[0].abs().max()


def test_outputs_are_logits_not_probabilities():
    network = build_network("u2netp", 4).eval()
    with torch.no_grad():
        network.outconv.bias.copy_(torch.tensor([-7.0, 9.0, 0.0, 0.0]))
        fused = network(torch.randn(1, 3, 64, 64))[0]
    assert fused[:, 1].min() > 1 and fused[:, 0].max() < 0
