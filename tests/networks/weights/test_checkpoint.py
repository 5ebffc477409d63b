"""This project's own checkpoints (how others write theirs: test_foreign)."""

import dataclasses

import pytest
import torch
from torch import nn

from networks.u2net import build_network
from networks.weights.checkpoint import check_keys, load_network, save_checkpoint
from networks.weights.info import CheckpointInfo
from tests.helpers import trained_like
from utils.errors import UserError

INFO = CheckpointInfo(("background", "a", "b", "c"), 64, 96, 0.4, 0.3, 7, {"miou": 0.5})


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return trained_like("u2netp", 4)


def test_a_saved_network_comes_back_with_its_description(network, tmp_path):
    save_checkpoint(tmp_path / "own.pth", network, INFO)
    loaded, info = load_network(tmp_path / "own.pth")
    assert info == INFO and not loaded.training
    saved = network.state_dict()
    for key, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, saved[key]) and tensor.dtype == saved[key].dtype, key


def test_loading_takes_neither_pytorchs_defaults_nor_its_random_numbers(network, tmp_path):
    save_checkpoint(tmp_path / "own.pth", network, INFO)
    random = torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):  # as a program that has set its GPU
            loaded, _ = load_network(tmp_path / "own.pth")
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(torch.get_rng_state(), random)
    with torch.inference_mode():
        assert loaded(torch.zeros(1, 3, 32, 32))[0].isfinite().all()


def test_a_loaded_network_can_be_trained_however_its_file_keeps_its_tensors(network, tmp_path):
    state = {key: tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor.float()
             for key, tensor in network.state_dict().items()}  # fmt: skip
    state["side1.bias"], state["side2.bias"] = state["outconv.bias"], torch.zeros(4).as_strided((4,), (0,))
    torch.save(state, tmp_path / "odd.pth")
    loaded = load_network(tmp_path / "odd.pth")[0].state_dict()
    assert len({tensor.data_ptr() for tensor in loaded.values()}) == len(loaded)
    for key, tensor in network.state_dict().items():
        assert (loaded[key].dtype, loaded[key].stride()) == (tensor.dtype, tensor.stride()), key


def test_files_keep_the_form_they_always_had(network, tmp_path):
    save_checkpoint(tmp_path / "own.pth", network, INFO)
    content = torch.load(tmp_path / "own.pth", weights_only=True)
    assert set(content) == {"state_dict", *(field.name for field in dataclasses.fields(INFO))}
    assert list(content["state_dict"]) == list(network.state_dict())


@pytest.mark.parametrize(("name", "classes"), [("u2netp", 9), ("u2net", 3)])
def test_architecture_and_class_count_are_read_from_the_tensors(name, classes, tmp_path):
    content = {"state_dict": build_network(name, classes).state_dict(), "class_names": ["these", "do", "not", "fit"]}
    torch.save(content, tmp_path / "w.pth")
    loaded, info = load_network(tmp_path / "w.pth")
    assert type(loaded) is type(build_network(name, classes))
    assert len(info.class_names) == loaded.outconv.out_channels == classes


def test_more_classes_than_label_maps_have_room_for_are_refused(tmp_path):
    torch.save(build_network("u2netp", 255).state_dict(), tmp_path / "w.pth")
    with pytest.raises(UserError, match="255 classes; label maps have room for 254"):
        load_network(tmp_path / "w.pth")


def test_wrong_keys_are_counted_and_named_but_shapes_that_may_differ_are_not_looked_at(network, tmp_path):
    state = network.state_dict() | {"side1.bias": torch.zeros(5)}
    check_keys(state, network, "w.pth", may_differ={"side1.bias"})
    del state["stage2.rebnconvin.conv_s1.bias"]
    torch.save(state | {"extra.weight": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(UserError) as error:
        load_network(tmp_path / "w.pth")
    for words in ("1 missing (stage2.rebnconvin.conv_s1.bias", "1 unexpected (extra.weight", "1 misshaped (side1.bias"):
        assert words in str(error.value)
    del state["side1.bias"]  # its shape may differ, but it must be there
    with pytest.raises(UserError, match="2 missing"):
        check_keys(state, network, "w.pth", may_differ={"side1.bias"})
