"""This project's own checkpoints (how others write theirs: test_foreign)."""

import dataclasses

import pytest
import torch
from torch import nn

from networks.u2net import build_network
from networks.weights.checkpoint import (
    check_keys,
    load_network,
    read_info,
    read_weights,
    save_checkpoint,
)
from networks.weights.info import INCLUDED_WEIGHTS, CheckpointInfo
from tests.helpers import trained_like
from utils.errors import UserError

INFO = CheckpointInfo(("background", "a", "b", "c"), 64, 96, 0.4, 0.3, 7, {"miou": 0.5})


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return trained_like("u2netp", 4)


@pytest.mark.parametrize("half", [False, True])
def test_a_saved_network_comes_back_with_its_description(half, network, tmp_path):
    save_checkpoint(tmp_path / "own.pth", network, INFO, half)
    loaded, info = load_network(tmp_path / "own.pth")
    assert info == INFO
    assert not loaded.training
    saved = network.state_dict()
    for key, tensor in loaded.state_dict().items():
        expected = saved[key].half().float() if half and saved[key].is_floating_point() else saved[key]
        assert torch.equal(tensor, expected), key
        assert tensor.dtype == saved[key].dtype


def test_files_keep_the_form_they_always_had(network, tmp_path):
    save_checkpoint(tmp_path / "own.pth", network, INFO)
    content = torch.load(tmp_path / "own.pth", weights_only=True)
    assert set(content) == {"state_dict", *(field.name for field in dataclasses.fields(INFO))}
    assert list(content["state_dict"]) == list(network.state_dict())


@pytest.mark.parametrize(("name", "classes"), [("u2netp", 2), ("u2netp", 9), ("u2net", 3)])
def test_architecture_and_class_count_are_read_from_the_tensors(name, classes, tmp_path):
    torch.save(build_network(name, classes).state_dict(), tmp_path / "w.pth")
    loaded, info = load_network(tmp_path / "w.pth")
    assert type(loaded) is type(build_network(name, classes))
    assert len(info.class_names) == loaded.outconv.out_channels == classes


def test_the_description_is_read_without_the_weights(network, tmp_path, monkeypatch):
    path = tmp_path / "own.pth"
    save_checkpoint(path, network, INFO)
    read = []
    original = torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: read.append(kwargs["mmap"]) or original(*args, **kwargs))
    assert read_info(path) == INFO
    assert read == [True]
    # Mapped weights stay on disk, in the precision that they have there.
    save_checkpoint(path, network, INFO, half=True)
    state, _ = read_weights(path, mmap=True)
    assert state["outconv.weight"].dtype == torch.float16


def test_class_names_that_do_not_fit_the_head_are_replaced(network, tmp_path):
    content = {"state_dict": network.state_dict(), "class_names": ["only", "three", "names"]}
    torch.save(content, tmp_path / "names.pth")
    assert load_network(tmp_path / "names.pth")[1].class_names == ("background", "upper", "lower", "full")


def test_wrong_keys_are_counted_and_named(network, tmp_path):
    state = dict(network.state_dict())
    del state["stage2.rebnconvin.conv_s1.bias"]
    state |= {"extra.weight": torch.zeros(1), "side1.bias": torch.zeros(5)}
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError) as error:
        load_network(tmp_path / "w.pth")
    for words in ("1 missing (stage2.rebnconvin.conv_s1.bias", "1 unexpected (extra.weight", "1 misshaped (side1.bias"):
        assert words in str(error.value)


def test_shapes_that_may_differ_are_not_looked_at_but_their_keys_are(network):
    state = network.state_dict() | {"side1.bias": torch.zeros(5)}
    check_keys(state, network, "w.pth", may_differ={"side1.bias"})
    del state["side1.bias"]
    with pytest.raises(UserError, match="1 missing"):
        check_keys(state, network, "w.pth", may_differ={"side1.bias"})


def test_the_included_weights_predict_at_once():
    assert INCLUDED_WEIGHTS.stat().st_size < 5e6
    info = load_network(INCLUDED_WEIGHTS)[1]
    assert info == read_info(INCLUDED_WEIGHTS)
    assert info.class_names == ("background", "upper", "lower", "full")
