import copy

import pytest
import torch

from networks.folding import is_folded
from networks.u2net import build_network
from networks.weights.surgery import initialise, start_from
from tests.helpers import trained_like
from utils.errors import UserError


@pytest.fixture(scope="module")
def saliency(tmp_path_factory):
    """(network, file) of U2NETP with one output channel."""
    network, path = trained_like("u2netp", 1), tmp_path_factory.mktemp("saliency") / "u2netp.pth"
    torch.save(network.state_dict(), path)
    return network, path


def test_784_tensors_are_copied_and_the_head_is_left(saliency):
    source, path = saliency
    target = trained_like("u2netp", 4, seed=1)
    head = copy.deepcopy(target)
    assert initialise(target, path) == (784, 14)
    for key, tensor in target.state_dict().items():
        origin = head if key.startswith(("side", "outconv")) else source
        assert torch.equal(tensor, origin.state_dict()[key]), key


def test_the_same_number_of_classes_copies_all_798(saliency):
    source, path = saliency
    target = build_network("u2netp", 1)
    assert initialise(target, path) == (798, 0)
    assert all(
        torch.equal(a, b) for a, b in zip(target.state_dict().values(), source.state_dict().values(), strict=True)
    )


def test_weights_of_the_other_network_are_refused(saliency):
    with pytest.raises(UserError, match="misshaped"):
        initialise(build_network("u2net", 4), saliency[1])


def test_missing_weights_say_how_to_get_them(tmp_path):
    with pytest.raises(UserError, match="setup_model_weights.py"):
        start_from(build_network("u2netp", 4), str(tmp_path / "none.pth"), [], print)


def test_folded_weights_get_their_batch_norm_back_and_others_keep_theirs(saliency, saliency_onnx):
    images, log = [torch.randn(3, 64, 64) for _ in range(4)], []
    network = build_network("u2netp", 4)
    start_from(network, str(saliency_onnx), images, log.append)
    assert not is_folded(network)
    assert "784 tensors copied, 14 of the head" in log[0] and "statistics from 4 photographs" in log[1]
    log.clear()
    start_from(network, str(saliency[1]), images, log.append)
    assert len(log) == 1
    assert torch.equal(network.stage1.rebnconvin.bn_s1.running_mean, saliency[0].stage1.rebnconvin.bn_s1.running_mean)
