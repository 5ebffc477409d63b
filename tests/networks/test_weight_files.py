"""Weight files from elsewhere: odd but sound ones load, every other is one clear line (see test_checkpoint)."""

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from networks import checkpoint
from networks.checkpoint import CheckpointInfo, build_network, load_network, save_checkpoint
from utils.errors import UserError


def error_of(path: Path) -> str:
    """The one line that reading a file ends with."""
    with pytest.raises(UserError) as caught:
        load_network(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class RunsCode:
    def __init__(self, proof: Path):
        self.proof = proof

    def __reduce__(self):
        return Path.touch, (self.proof,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", ["zip", "legacy", "bare pickle"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path, protocol):
    proof, path = tmp_path / "ran", tmp_path / "evil.pth"
    content = {"state_dict": build_network("u2netp", 4).state_dict(), "extra": RunsCode(proof)}
    if protocol == "bare pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=protocol == "zip")
    assert "run code" in error_of(path)
    assert not proof.exists()


def test_a_whole_pickled_network_is_refused(tmp_path):
    torch.save(build_network("u2netp", 4), tmp_path / "network.pth")
    assert "state dict" in error_of(tmp_path / "network.pth")


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        torch.zeros(3),
        {"weight": torch.zeros(3)},
        {"state_dict": {}},
        {"state_dict": {"a": 1}},
        {"epoch": 3, "model": {}},
        {0: torch.zeros(3)},
        {"stage1.rebnconv1.conv_s1.weight": torch.zeros(16, 64, 3, 3), "outconv.bias": torch.tensor(1.0)},
    ],
)
def test_a_file_that_holds_something_else_is_one_line(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    assert "other.pth" in error_of(tmp_path / "other.pth")


def test_a_truncated_file_is_one_line_wherever_it_was_cut(tmp_path):
    path = tmp_path / "cut.pth"
    save_checkpoint(path, build_network("u2netp", 4), CheckpointInfo())
    whole = path.read_bytes()
    for part in (0, 0.0001, 0.01, 0.5, 0.99, 0.9999):
        path.write_bytes(whole[: int(part * len(whole))])
        assert "cut.pth" in error_of(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_file_of_text_or_noise_is_one_line(tmp_path):
    rng = np.random.default_rng(0)
    contents = [b"hello\n", b"<!DOCTYPE html><html>quota exceeded</html>", b"\x80", b"\x80\x02", b"PK\x03\x04 no zip"]
    contents += [rng.bytes(int(rng.integers(1, 60))) for _ in range(150)]
    contents += [bytes([first]) + b"\n" + rng.bytes(20) for first in range(256)]
    contents += [bytes([0x80, 2, first]) + rng.bytes(20) for first in range(256)]
    for suffix in ("pth", "onnx"):
        path = tmp_path / f"noise.{suffix}"
        for content in contents:
            path.write_bytes(content)
            assert "noise" in error_of(path), content


def test_an_onnx_file_of_another_network_is_refused(tmp_path):
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(other, (torch.rand(1, 3, 32, 32),), tmp_path / "other.onnx", dynamo=False)
    assert "2 convolutions, U2NET has 119" in error_of(tmp_path / "other.onnx")


def test_class_names_that_do_not_fit_the_head_are_replaced(tmp_path):
    state = build_network("u2netp", 4).state_dict()
    torch.save({"state_dict": state, "class_names": ["only", "three", "names"]}, tmp_path / "names.pth")
    assert load_network(tmp_path / "names.pth")[1].class_names == ("background", "upper", "lower", "full")


def test_a_checkpoint_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        save_checkpoint(tmp_path / "file" / "weights.pth", build_network("u2netp", 4), CheckpointInfo())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_in_place_of_a_file_is_one_line(tmp_path):
    assert "no checkpoint at" in error_of(tmp_path)


def test_a_huge_onnx_file_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate(checkpoint.MAX_BYTES + 1)  # sparse: takes no room
    assert "GB" in error_of(tmp_path / "huge.onnx")


def test_parameters_are_registered_in_the_order_of_the_state_dict():
    """An optimiser's state is indexed by position; another order would load into the wrong tensors in silence."""
    with torch.device("meta"):
        network = build_network("u2net", 4)
    named = [name for name, _ in network.named_parameters()]
    assert named == [key for key in network.state_dict() if key in set(named)]
