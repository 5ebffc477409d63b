import copy

import pytest
import torch

from networks.folding import is_folded
from networks.u2net import build_network
from networks.weights.checkpoint import save_checkpoint
from networks.weights.info import CheckpointInfo
from networks.weights.surgery import initialise, start_from
from tests.helpers import trained_like
from utils.errors import UserError

NAMES = ("background", "upper", "lower", "full")


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
    assert initialise(target, path, NAMES) == (784, 14, ())
    for key, tensor in target.state_dict().items():
        origin = head if key.startswith(("side", "outconv")) else source
        assert torch.equal(tensor, origin.state_dict()[key]), key


def test_the_same_number_of_classes_copies_all_798(saliency):
    source, path = saliency
    target = build_network("u2netp", 1)
    assert initialise(target, path) == (798, 0, ())
    assert all(
        torch.equal(a, b) for a, b in zip(target.state_dict().values(), source.state_dict().values(), strict=True)
    )


CLASSES = {  # of the file, of the network, and what is copied
    "other ones": (NAMES, ("background", "hat", "upper", "shoe"), ("background", "upper")),
    "another order": (NAMES, ("background", "full", "lower", "upper"), ("background", "full", "lower", "upper")),
    "more": (NAMES, (*NAMES, "shoe"), NAMES),
    "fewer": (NAMES, ("background", "full"), ("background", "full")),
    "none": (("0", "1", "2", "3"), NAMES, ()),
    "background alone": (NAMES, ("background", "a", "b", "c"), ("background",)),
}


@pytest.mark.parametrize("name", CLASSES)
def test_the_head_is_copied_by_class_name_and_keeps_what_it_computes(name, tmp_path):
    before, after, common = CLASSES[name]
    source, path, log = trained_like("u2netp", len(before)), tmp_path / "w.pth", []
    save_checkpoint(path, source, CheckpointInfo(before))
    target = trained_like("u2netp", len(after), seed=1)
    fresh = copy.deepcopy(target)
    start_from(target, after, str(path), [], log.append)
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        # The fused map of a class is made of all maps: it is the same where none of them has gone.
        first = 0 if set(before) <= set(after) else 1
        for expected, found in zip(source(x)[first:], target(x)[first:], strict=True):
            for each in common:
                torch.testing.assert_close(found[:, after.index(each)], expected[:, before.index(each)])
    for each in set(after) - set(common):
        row = after.index(each)
        assert torch.equal(target.outconv.weight[row], fresh.outconv.weight[row])
        assert torch.equal(target.side3.bias[row], fresh.side3.bias[row])
    others = [each for each in after if each not in common]
    head = f"head copied for {', '.join(common)}, initialised for {', '.join(others) or 'no other class'}"
    assert log[0].endswith(f"784 tensors copied, {head if common else '14 of the head left as initialised'}")


def test_a_head_of_another_shape_is_refused(tmp_path):
    state = trained_like("u2netp", 4).state_dict()
    torch.save(state | {"side2.weight": torch.zeros(4, 9, 3, 3)}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"w.pth does not fit the network: side2.weight has the shape \(4, 9, 3, 3\)"):
        initialise(build_network("u2netp", 5), tmp_path / "w.pth", (*NAMES, "shoe"))


def test_weights_of_the_other_network_are_refused(saliency):
    with pytest.raises(UserError, match="misshaped"):
        initialise(build_network("u2net", 4), saliency[1])


def test_missing_weights_say_how_to_get_them(tmp_path):
    with pytest.raises(UserError, match="setup_model_weights.py"):
        start_from(build_network("u2netp", 4), NAMES, str(tmp_path / "none.pth"), [], print)


def test_folded_weights_get_their_batch_norm_back_and_others_keep_theirs(saliency, saliency_onnx):
    images, log = [torch.randn(3, 64, 64) for _ in range(4)], []
    network = build_network("u2netp", 4)
    start_from(network, NAMES, str(saliency_onnx), images, log.append)
    assert not is_folded(network)
    assert "784 tensors copied, 14 of the head" in log[0] and "statistics from 4 photographs" in log[1]
    log.clear()
    start_from(network, NAMES, str(saliency[1]), images, log.append)
    assert len(log) == 1
    assert torch.equal(network.stage1.rebnconvin.bn_s1.running_mean, saliency[0].stage1.rebnconvin.bn_s1.running_mean)
