"""Weight files from elsewhere: odd but sound ones load, every other is one clear line."""

import argparse
import io
import json
import pathlib
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from networks.exporters import export_torchscript
from networks.u2net import build_network
from networks.weights.checkpoint import load_network, read_info, save_checkpoint
from networks.weights.info import MAX_BYTES, CheckpointInfo
from tests.helpers import trained_like
from utils.errors import UserError
from utils.training.state import build_state

StateDict = dict[str, Tensor]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return trained_like("u2netp", 4)


@pytest.fixture(scope="module")
def state(network) -> StateDict:
    return dict(network.state_dict())


@pytest.fixture(scope="module")
def other() -> StateDict:
    """Another network's weights, of the same shapes."""
    return dict(trained_like("u2netp", 4, seed=1).state_dict())


def assert_loads(path: Path, state: StateDict) -> None:
    loaded = load_network(path)[0].state_dict()
    assert list(loaded) == list(state)
    assert [key for key in state if not torch.equal(loaded[key], state[key])] == []
    assert len(read_info(path).class_names) == 4


def error_of(path: Path) -> str:
    """The one line that reading a file ends with."""
    with pytest.raises(UserError) as caught:
        load_network(path)
    assert "\n" not in str(caught.value) and path.stem in str(caught.value)
    return str(caught.value)


def prefixed(state: StateDict, prefix: str) -> StateDict:
    return {f"{prefix}{key}": tensor for key, tensor in state.items()}


# Where in a file the weights lie, and behind which names

PREFIXES = [
    "", "module.", "_orig_mod.", "model.", "net.", "network.", "module.module.", "_orig_mod.module.",
    "module._orig_mod.", "model.net.module.", "model._orig_mod.", "segmentation_network.", "generator.u2net.",
]  # fmt: skip
KEYS = ["state_dict", "model", "model_state_dict", "net", "params", "weights", "ema", "model_state", "anything"]
OPTIMIZER = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]}
# (state, another network's state) -> what is saved; the first one must come back
SOUND: dict[str, Callable[[StateDict, StateDict], object]] = {
    **{f"prefix {prefix}": lambda state, other, prefix=prefix: prefixed(state, prefix) for prefix in PREFIXES},
    **{
        f"key {key}": lambda state, other, key=key: {
            "epoch": 3, key: prefixed(state, "module."), "optimizer": OPTIMIZER, "args": None,
        }
        for key in KEYS
    },
    "prefixes that differ": lambda state, other: {
        f"{PREFIXES[i % 6]}{key}": tensor for i, (key, tensor) in enumerate(state.items())
    },
    "wrappers within": lambda state, other: {
        key.replace("stage3.", "stage3._orig_mod.").replace("side2.", "side2.module."): t for key, t in state.items()
    },
    "two levels down": lambda state, other: {"checkpoint": {"model": OrderedDict(state)}, "version": (1, 2)},
    "Lightning's, with a loss": lambda state, other: {
        "epoch": 1, "loops": {"fit_loop": {}}, "optimizer_states": [{"state": {}}],
        "state_dict": prefixed(state, "model.") | {"criterion.weight": torch.ones(4)},
    },
    "average below": lambda state, other: {
        "model": other, "ema": prefixed(state, "module.") | {"n_averaged": torch.tensor(7)},
    },
    "average beside": lambda state, other: prefixed(other, "model.") | prefixed(state, "ema_model."),
    "counters of operations": lambda state, other: state | {
        "total_ops": torch.zeros(1), "stage1.rebnconvin.conv_s1.total_params": torch.zeros(1),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_weights_are_found_wherever_they_lie(name, state, other, tmp_path):
    torch.save(SOUND[name](state, other), tmp_path / "w.pth")
    assert_loads(tmp_path / "w.pth", state)


@pytest.mark.parametrize("ema_decay", [0, 0.9])
def test_the_state_of_a_run_is_read_and_its_average_preferred(ema_decay, tmp_path):
    run = build_state(trained_like("u2netp", 4), "adam", 1e-3, 0.0, ema_decay, "fp32")
    if run.ema:
        run.ema.module.load_state_dict(trained_like("u2netp", 4, seed=2).state_dict())
    run.save(tmp_path / "latest.pth")
    assert_loads(tmp_path / "latest.pth", dict(run.weights.state_dict()))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_averages_parameters_and_pytorchs_first_format_load(network, state, tmp_path):
    torch.save(AveragedModel(network, use_buffers=True).state_dict(), tmp_path / "average.pth")
    torch.save(dict(network.named_parameters()) | dict(network.named_buffers()), tmp_path / "parameters.pth")
    torch.save(state, tmp_path / "first.onnx", _use_new_zipfile_serialization=False)  # its name does not count
    for path in tmp_path.iterdir():
        assert_loads(path, state)


def test_files_without_counters_get_some(state, tmp_path):
    without = {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
    torch.save(without, tmp_path / "w.pth")
    loaded = load_network(tmp_path / "w.pth")[0].state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in without.items())
    assert loaded["stage1.rebnconvin.bn_s1.num_batches_tracked"] == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_load_as_float32(dtype, state, tmp_path):
    torch.save({k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}, tmp_path / "w.pth")
    loaded = load_network(tmp_path / "w.pth")[0]
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    key = "stage1.rebnconvin.conv_s1.weight"
    assert torch.equal(loaded.state_dict()[key], state[key].to(dtype).float())


HARMLESS = {
    "float": np.float64(0.5), "text": np.str_("hat"), "array": np.arange(12.0).reshape(3, 4),
    "big endian": np.arange(3, dtype=">f4"), "path": pathlib.PurePosixPath("a/b"), "real path": Path("a/b"),
    "set": {1, 2}, "nested": [{"miou": np.float64(0.5)}, (np.arange(3),)], "nothing": None,
}  # fmt: skip


@pytest.mark.parametrize("numpy_1", [True, False], ids=["NumPy 1", "NumPy 2"])
def test_harmless_things_beside_the_weights_do_no_harm(numpy_1, state, tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"state_dict": state, "beside": HARMLESS}, path)
    if numpy_1:
        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                renamed = content.replace(b"cnumpy._core.", b"cnumpy.core.")
                assert (renamed != content) == name.endswith("data.pkl")
                archive.writestr(name, renamed)
    assert_loads(path, state)


def test_a_foreign_files_own_words_are_not_taken_for_a_description(state, tmp_path):
    content = {"model": state, "mean": [0.485, 0.456, 0.406], "metrics": "good", "height": "tall", "iteration": None}
    torch.save(content, tmp_path / "w.pth")
    assert load_network(tmp_path / "w.pth")[1] == CheckpointInfo(("background", "upper", "lower", "full"))


def save_safetensors(state: StateDict, path: Path, metadata: dict | None = None) -> None:
    pytest.importorskip("safetensors")
    from safetensors.torch import save_file

    save_file(state, path, metadata)


def test_safetensors_load_and_may_describe_themselves(state, tmp_path):
    path = tmp_path / "renamed.pth"
    save_safetensors(prefixed(state, "model."), path)
    assert_loads(path, state)
    text = json.dumps({"class_names": ["background", "a", "b", "c"], "height": 64, "width": 96})
    save_safetensors(state, path, {"format": "pt", "cloth_segmentation": text})
    info = load_network(path)[1]
    assert (info.class_names, info.height, info.width) == (("background", "a", "b", "c"), 64, 96)
    save_safetensors(state, path, {"cloth_segmentation": "[1]"})
    assert "cloth_segmentation is '[1]'; it must be a JSON object" in error_of(path)


# Files that are refused


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return buffer.getvalue()


SAFETENSORS_HEADER = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
SOMETHING_ELSE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty; download it again"),
    "web page": (b"\n <!DOCTYPE html><html>Quota exceeded</html>", "is a web page, from a failed download"),
    "web page with a mark": (b"\xef\xbb\xbf<html lang=en>", "is a web page"),
    "XML": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is a web page"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
    "model archive": (zipped("MAR-INF/MANIFEST.json", "handler.py", "w.pth"), "is an archive; unpack it"),
    "tar": (bytes(257) + b"ustar" + bytes(500), "is an archive; unpack it"),
    "gzip": (b"\x1f\x8b\x08" + bytes(99), "is an archive; unpack it"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(99), "is an archive; unpack it"),
    "zip cut off": (zipped("a/data.pkl")[:-30], "is damaged or cut off"),
    "photo": (b"\xff\xd8\xff\xe0" + bytes(99), "is not a weight file"),
    "Keras": (b"\x89HDF\r\n\x1a\n" + bytes(99), "is not a weight file"),
    "text": (b"hello\n", "is not a weight file"),
    "cut safetensors": (len(SAFETENSORS_HEADER).to_bytes(8, "little") + SAFETENSORS_HEADER, "not safetensors"),
    "pickle of nothing": (b"\x80\x02", "truncated, or not a checkpoint"),
    "pickle of noise": (b"\x80\x02" + bytes(range(99)), "w.pth"),
}


@pytest.mark.parametrize("name", SOMETHING_ELSE)
def test_a_file_that_is_something_else_is_named(name, tmp_path):
    content, words = SOMETHING_ELSE[name]
    (tmp_path / "w.pth").write_bytes(content)
    message = error_of(tmp_path / "w.pth")
    assert words in message and "weights_only" not in message  # PyTorch's advice to load unsafely is not passed on


def test_what_no_weights_can_be_is_refused_before_it_is_read(tmp_path, monkeypatch):
    assert "no checkpoint at" in error_of(tmp_path / "none.pth")
    assert "is a folder; give a file" in error_of(tmp_path)
    with (tmp_path / "huge.pth").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # a sparse file: takes no room
    assert "over 2 GB" in error_of(tmp_path / "huge.pth")
    monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
    (tmp_path / "m.pth").write_bytes(SOMETHING_ELSE["cut safetensors"][0] + bytes(4))
    assert "pip install safetensors" in error_of(tmp_path / "m.pth")


def test_torchscript_is_named(network, tmp_path):
    export_torchscript(network, CheckpointInfo(height=64, width=64), tmp_path / "w.pt")
    assert "TorchScript archive" in error_of(tmp_path / "w.pt")


def test_a_file_is_one_line_wherever_it_was_cut(network, state, tmp_path):
    save_checkpoint(tmp_path / "cut.pth", network, CheckpointInfo())
    save_safetensors(state, tmp_path / "cut.safetensors")
    for path in list(tmp_path.iterdir()):
        whole = path.read_bytes()
        for part in (9, 0.0001, 0.01, 0.5, 0.99, len(whole) - 1):
            path.write_bytes(whole[: int(part * len(whole)) if part < 1 else part])
            error_of(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_noise_is_one_line(tmp_path):
    rng = np.random.default_rng(0)
    contents = [bytes([first]) + b"\n" + rng.bytes(20) for first in range(256)]
    contents += [bytes([0x80, 2, first]) + rng.bytes(20) for first in range(256)]
    for path in (tmp_path / "noise.pth", tmp_path / "noise.onnx"):
        for content in contents:
            path.write_bytes(content)
            error_of(path)


class RunsCode:
    def __init__(self, proof: Path):
        self.proof = proof

    def __reduce__(self):
        return Path.touch, (self.proof,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", ["zip", "legacy", "bare pickle"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(protocol, state, tmp_path):
    proof, path = tmp_path / "ran", tmp_path / "evil.pth"
    content = {"state_dict": state, "extra": RunsCode(proof)}
    if protocol == "bare pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=protocol == "zip")
    assert "run code" in error_of(path)
    assert not proof.exists()


KEY = "stage1.rebnconvin.conv_s1.weight"
NOT_WEIGHTS: dict[str, tuple[Callable[[StateDict, StateDict], object], str]] = {
    "infinite": (lambda state, other: state | {KEY: state[KEY] / 0}, f"{KEY} has values that are not finite"),
    "no number": (
        lambda state, other: state | {"stage3.rebnconv2.bn_s1.running_var": torch.full((16,), float("nan"))},
        "stage3.rebnconv2.bn_s1.running_var has values that are not finite",
    ),
    "integers": (lambda state, other: state | {KEY: state[KEY].char()}, f"{KEY} is quantised"),
    "two networks below": (
        lambda state, other: {"first": state, "second": other}, "holds several networks (first, second)",
    ),
    "two networks behind prefixes": (
        lambda state, other: prefixed(state, "net_a.") | prefixed(other, "net_b."),
        "holds several networks (net_a, net_b)",
    ),
    "two networks behind wrappers": (
        lambda state, other: prefixed(state, "module.") | prefixed(other, "net."), "twice, behind different prefixes",
    ),
    "one class": (
        lambda state, other: build_network("u2netp", 1).state_dict(), "setup_model_weights.py --model u2netp --weights",
    ),
    "NumPy arrays": (lambda state, other: {k: v.numpy() for k, v in state.items()}, "does not hold a state dict"),
    "an object": (
        lambda state, other: {"state_dict": state, "args": argparse.Namespace(lr=1)},
        "it holds argparse.Namespace as well as weights",
    ),
    "an array of objects": (
        lambda state, other: {"state_dict": state, "extra": np.array([{}], object)}, "it holds numpy.O8",
    ),
    "a whole network": (lambda state, other: trained_like("u2netp", 4), "a whole pickled network"),
    "another whole network": (lambda state, other: nn.Sequential(nn.Conv2d(3, 4, 3)), "a whole pickled network"),
    "nothing": (lambda state, other: {}, "(it is empty)"),
    "a list": (lambda state, other: [], "(it holds a list)"),
    "another state dict": (lambda state, other: {"weight": torch.zeros(3)}, "(first keys: weight)"),
    "no tensors": (lambda state, other: {"state_dict": {"a": 1}, "stage1": torch.zeros(1)}, "(first keys: state_dict"),
    "keys that are no names": (lambda state, other: {0: torch.zeros(3)}, "(first keys: 0)"),
    "a head without classes": (
        lambda state, other: {KEY: torch.zeros(16, 64, 3, 3), "outconv.bias": torch.tensor(1.0)},
        "neither U2NET nor U2NETP weights",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_WEIGHTS)
def test_a_file_without_usable_weights_says_why(name, state, other, tmp_path):
    make, words = NOT_WEIGHTS[name]
    torch.save(make(state, other), tmp_path / "w.pth")
    assert words in error_of(tmp_path / "w.pth")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_quantised_weights_are_named(state, tmp_path):
    torch.save(state | {KEY: torch.quantize_per_tensor(state[KEY], 0.1, 0, torch.qint8)}, tmp_path / "w.pth")
    assert f"{KEY} is quantised" in error_of(tmp_path / "w.pth")


def test_saliency_weights_are_refused_in_any_form(saliency_onnx, tmp_path):
    (tmp_path / "u2netp.pth").write_bytes(saliency_onnx.read_bytes())
    for path in (saliency_onnx, tmp_path / "u2netp.pth"):
        assert "saliency weights" in error_of(path)
        with pytest.raises(UserError, match="saliency"):
            read_info(path)
