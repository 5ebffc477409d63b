import pytest
import torch

from networks.u2net import architecture_of_width, build_network
from tests.helpers import shared, trained_like


@pytest.mark.parametrize("name", ["u2net", "u2netp"])
def test_keys_shapes_and_order_are_the_published_ones(name):
    lines = shared(f"reference/{name}_state_dict.tsv").read_text().splitlines()[1:]
    published = [tuple(line.split("\t")) for line in lines]
    state = build_network(name, 4).state_dict()
    assert [(k, "x".join(map(str, v.shape)) or "scalar") for k, v in state.items()] == published


@pytest.mark.parametrize("name", ["u2net", "u2netp"])
def test_parameters_are_registered_in_the_order_of_the_state_dict(name):
    """An optimiser's state is indexed by position; another order would load into the wrong tensors in silence."""
    with torch.device("meta"):
        network = build_network(name, 4)
    named = [key for key, _ in network.named_parameters()]
    assert named == [key for key in network.state_dict() if key in set(named)]


@pytest.mark.parametrize(("name", "parameters"), [("u2net", 44_051_452), ("u2netp", 1_141_660)])
def test_parameter_counts_are_the_published_ones(name, parameters):
    with torch.device("meta"):
        assert sum(p.numel() for p in build_network(name, 4).parameters()) == parameters


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (97, 131), (64, 32)])
def test_any_size_from_32_gives_seven_maps_of_that_size(size):
    network = build_network("u2netp", 4).eval()
    with torch.inference_mode():
        outputs = network(torch.randn(2, 3, *size))
    assert [tuple(o.shape) for o in outputs] == [(2, 4, *size)] * 7


@pytest.mark.parametrize("size", [(64, 64), (33, 47), (97, 131)])
@pytest.mark.parametrize(("name", "classes"), [("u2net", 4), ("u2netp", 4), ("u2netp", 1)])
def test_the_fused_map_alone_is_the_first_of_the_seven(name, classes, size):
    network = trained_like(name, classes)
    x = torch.randn(2, 3, *size)
    with torch.inference_mode():
        expected, fused = network(x)[0], network.fused(x)
    assert fused.shape == expected.shape
    assert (fused - expected).abs().max() < 1e-5 * expected.abs().max()


def test_outputs_are_logits_not_probabilities():
    torch.manual_seed(0)
    network = build_network("u2netp", 4).eval()
    with torch.no_grad():
        network.outconv.bias.copy_(torch.tensor([-7.0, 9.0, 0.0, 0.0]))
        fused = network(torch.randn(1, 3, 64, 64))[0]
    assert fused[:, 1].min() > 1
    assert fused[:, 0].max() < 0


def test_the_architecture_is_known_by_the_width_of_its_first_block():
    assert [architecture_of_width(channels) for channels in (32, 16, 17)] == ["u2net", "u2netp", None]
