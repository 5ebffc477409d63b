import copy

import pytest
import torch

from networks.folding import is_folded
from networks.u2net import build_network
from networks.weights.checkpoint import save_checkpoint
from networks.weights.info import CheckpointInfo
from networks.weights.surgery import check_start, start_from
from tests.helpers import trained_like
from utils.errors import UserError

NAMES = ("background", "upper", "lower", "full")


CLASSES = [  # of the file, of the network, and what is copied
    (NAMES, ("background", "hat", "upper", "shoe"), ("background", "upper")), (NAMES, (*NAMES, "shoe"), NAMES),
    (NAMES, ("background", "full", "lower", "upper"), ("background", "full", "lower", "upper")),
    (NAMES, ("background", "full"), ("background", "full")), (("0", "1", "2", "3"), NAMES, ()),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "common"), CLASSES, ids=str)
def test_the_head_is_copied_by_class_name_and_keeps_what_it_computes(before, after, common, tmp_path):
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
    for row in (after.index(each) for each in set(after) - set(common)):
        assert torch.equal(target.outconv.weight[row], fresh.outconv.weight[row])
        assert torch.equal(target.side3.bias[row], fresh.side3.bias[row])
    (said,) = log  # their batch norm is not folded, and stays
    assert f"784 tensors copied, {'head copied for' if common else '14 of the head left as initialised'}" in said


def test_weights_that_do_not_fit_or_are_missing_are_refused(tmp_path):
    state = trained_like("u2netp", 4).state_dict() | {"side2.weight": torch.zeros(4, 9, 3, 3)}
    torch.save(state, tmp_path / "w.pth")
    for name, words in (("u2netp", r"side2.weight has the shape \(4, 9, 3, 3\)"), ("u2net", "misshaped")):
        with pytest.raises(UserError, match=f"w.pth does not fit the network: .*{words}"):
            start_from(build_network(name, 5), (*NAMES, "shoe"), str(tmp_path / "w.pth"), [], print)
    with pytest.raises(UserError, match="setup_model_weights.py"):
        check_start(str(tmp_path / "none.pth"))


def test_folded_weights_get_their_batch_norm_back(saliency_onnx):
    images, log = [torch.randn(3, 64, 64) for _ in range(4)], []
    network = build_network("u2netp", 4)
    start_from(network, NAMES, str(saliency_onnx), images, log.append)
    assert not is_folded(network)
    assert "784 tensors copied, 14 of the head" in log[0] and "statistics from 4 photographs" in log[1]
