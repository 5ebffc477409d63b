import pytest
import torch

from networks.checkpoint import build_network
from networks.losses import deep_supervision_loss, soft_iou_loss
from tests.helpers import shared


@pytest.mark.parametrize("name", ["u2net", "u2netp"])
def test_keys_shapes_and_order_are_the_published_ones(name):
    lines = shared(f"reference/{name}_state_dict.tsv").read_text().splitlines()[1:]
    published = [tuple(line.split("\t")) for line in lines]
    state = build_network(name, 4).state_dict()
    assert [(k, "x".join(map(str, v.shape)) or "scalar") for k, v in state.items()] == published


@pytest.mark.parametrize(("name", "parameters"), [("u2net", 44_051_452), ("u2netp", 1_141_660)])
def test_parameter_counts_are_the_published_ones(name, parameters):
    assert sum(p.numel() for p in build_network(name, 4).parameters()) == parameters


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (97, 131), (64, 32)])
def test_any_size_from_32_gives_seven_maps_of_that_size(size):
    network = build_network("u2netp", 4).eval()
    with torch.inference_mode():
        outputs = network(torch.randn(2, 3, *size))
    assert [tuple(o.shape) for o in outputs] == [(2, 4, *size)] * 7


def test_outputs_are_logits_not_probabilities():
    torch.manual_seed(0)
    network = build_network("u2netp", 4).eval()
    with torch.no_grad():
        network.outconv.bias.copy_(torch.tensor([-7.0, 9.0, 0.0, 0.0]))
        fused = network(torch.randn(1, 3, 64, 64))[0]
    assert fused[:, 1].min() > 1
    assert fused[:, 0].max() < 0


def test_a_traced_network_works_at_another_size():
    network = build_network("u2netp", 4).eval()
    with torch.inference_mode():
        traced = torch.jit.trace(network, torch.randn(1, 3, 64, 64))
        x = torch.randn(1, 3, 70, 101)
        torch.testing.assert_close(traced(x)[0], network(x)[0], atol=1e-4, rtol=1e-4)


def test_loss_is_the_published_weighting_of_the_seven_maps():
    outputs = [torch.randn(2, 4, 8, 8) for _ in range(7)]
    label, weights = torch.randint(0, 4, (2, 8, 8)), torch.tensor([1, 1.5, 1.5, 1.5])
    total, parts = deep_supervision_loss(outputs, label, weights)
    one_hot = torch.nn.functional.one_hot(label, 4).permute(0, 3, 1, 2)
    by_hand = []
    for output in outputs:
        pixel = -(output.log_softmax(1) * one_hot * weights[:, None, None]).sum(1)
        by_hand.append(pixel.sum() / weights[label].sum())
    torch.testing.assert_close(torch.stack(parts), torch.stack(by_hand))
    torch.testing.assert_close(total, 1.5 * by_hand[0] + sum(by_hand[1:]))


def test_soft_iou_is_the_iou_where_the_network_is_sure():
    label, prediction = torch.randint(
        0, 3, (2, 2, 8, 8), generator=torch.Generator().manual_seed(0)
    )  # class 3: nowhere
    logits = 100.0 * torch.nn.functional.one_hot(prediction, 4).movedim(-1, 1)
    ious = [((label == c) & (prediction == c)).sum() / ((label == c) | (prediction == c)).sum() for c in range(3)]
    torch.testing.assert_close(soft_iou_loss(logits, label), 1 - torch.stack(ious).mean())
    assert soft_iou_loss(100.0 * torch.nn.functional.one_hot(label, 4).movedim(-1, 1), label) == 0


def test_iou_weight_adds_the_soft_iou_loss_to_every_map():
    outputs, label = [torch.randn(2, 4, 8, 8) for _ in range(7)], torch.randint(0, 4, (2, 8, 8))
    _, plain = deep_supervision_loss(outputs, label)
    total, both = deep_supervision_loss(outputs, label, iou_weight=0.5)
    extra = [0.5 * soft_iou_loss(output, label) for output in outputs]
    torch.testing.assert_close(torch.stack(both) - torch.stack(plain), torch.stack(extra))
    torch.testing.assert_close(total, 1.5 * both[0] + sum(both[1:]))
