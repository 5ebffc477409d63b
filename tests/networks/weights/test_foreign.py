"""Weight files from elsewhere: odd but sound ones load, every other is one clear line."""

import argparse
import io
import json
import pathlib
import pickle
import tarfile
import zipfile
from collections import OrderedDict
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
    assert "\n" not in str(caught.value)
    return str(caught.value)


def prefixed(state: StateDict, prefix: str) -> StateDict:
    return {f"{prefix}{key}": tensor for key, tensor in state.items()}


PREFIXES = [
    "", "module.", "_orig_mod.", "model.", "net.", "network.", "module.module.", "_orig_mod.module.",
    "module._orig_mod.", "model.net.module.", "model._orig_mod.", "segmentation_network.", "generator.u2net.",
]  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_of_wrappers_are_taken_off(prefix, state, tmp_path):
    torch.save(prefixed(state, prefix), tmp_path / "w.pth")
    assert_loads(tmp_path / "w.pth", state)


def test_prefixes_may_differ_from_key_to_key_and_stand_within(state, tmp_path):
    mixed = {f"{PREFIXES[i % 6]}{key}": tensor for i, (key, tensor) in enumerate(state.items())}
    torch.save(mixed, tmp_path / "mixed.pth")
    assert_loads(tmp_path / "mixed.pth", state)
    within = {
        key.replace("stage3.", "stage3._orig_mod.").replace("side2.", "side2.module."): t for key, t in state.items()
    }
    torch.save(within, tmp_path / "within.pth")
    assert_loads(tmp_path / "within.pth", state)


def test_two_networks_behind_two_wrappers_are_not_mixed(state, other, tmp_path):
    torch.save(prefixed(state, "module.") | prefixed(other, "net."), tmp_path / "w.pth")
    assert "twice" in error_of(tmp_path / "w.pth")


USUAL = [
    "state_dict", "model", "model_state_dict", "net", "network", "params", "weights", "ema", "model_state", "anything",
]  # fmt: skip


@pytest.mark.parametrize("key", USUAL)
def test_weights_one_level_down_are_found_beside_other_things(key, state, tmp_path):
    optimizer = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]}
    torch.save({"epoch": 3, key: prefixed(state, "module."), "optimizer": optimizer, "args": None}, tmp_path / "w.pth")
    assert_loads(tmp_path / "w.pth", state)


def test_weights_two_levels_down_are_found(state, tmp_path):
    torch.save({"checkpoint": {"model": OrderedDict(state)}, "version": (1, 2)}, tmp_path / "w.pth")
    assert_loads(tmp_path / "w.pth", state)


def test_lightnings_checkpoint_is_read_without_its_loss(state, tmp_path):
    content = {
        "epoch": 1, "global_step": 100, "pytorch-lightning_version": "2.4.0", "loops": {"fit_loop": {}},
        "state_dict": prefixed(state, "model.") | {"criterion.weight": torch.ones(4)},
        "hyper_parameters": {"lr": 1e-3}, "optimizer_states": [{"state": {}}],
    }  # fmt: skip
    torch.save(content, tmp_path / "epoch=1.ckpt")
    assert_loads(tmp_path / "epoch=1.ckpt", state)


@pytest.mark.parametrize("below", [True, False])
def test_averaged_weights_are_preferred(below, state, other, tmp_path):
    average = prefixed(state, "module.") | {"n_averaged": torch.tensor(7)}
    content = {"model": other, "ema": average} if below else prefixed(other, "model.") | prefixed(state, "ema_model.")
    torch.save(content, tmp_path / "w.pth")
    assert_loads(tmp_path / "w.pth", state)


@pytest.mark.parametrize("ema_decay", [0, 0.9])
def test_the_state_of_a_run_is_read_and_its_average_preferred(ema_decay, tmp_path):
    run = build_state(trained_like("u2netp", 4), "adam", 1e-3, 0.0, ema_decay, "fp32")
    if run.ema:
        run.ema.module.load_state_dict(trained_like("u2netp", 4, seed=2).state_dict())
    run.save(tmp_path / "latest.pth")
    assert_loads(tmp_path / "latest.pth", dict(run.weights.state_dict()))


def test_a_pickled_average_of_a_network_alone_is_read(network, state, tmp_path):
    torch.save(AveragedModel(network, use_buffers=True).state_dict(), tmp_path / "w.pth")
    assert_loads(tmp_path / "w.pth", state)


@pytest.mark.parametrize("keys", [("first", "second"), ("net_a", "net_b")])
def test_several_networks_of_one_rank_are_refused_by_name(keys, state, other, tmp_path):
    torch.save(dict(zip(keys, (state, other), strict=True)), tmp_path / "down.pth")
    torch.save(prefixed(state, f"{keys[0]}.") | prefixed(other, f"{keys[1]}."), tmp_path / "flat.pth")
    for name in ("down.pth", "flat.pth"):
        assert f"holds several networks ({keys[0]}, {keys[1]})" in error_of(tmp_path / name)


def test_files_without_counters_get_some(state, tmp_path):
    without = {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
    torch.save(without, tmp_path / "w.pth")
    loaded = load_network(tmp_path / "w.pth")[0].state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in without.items())
    assert loaded["stage1.rebnconvin.bn_s1.num_batches_tracked"] == 0


def test_counters_of_operations_are_left_out(state, tmp_path):
    counted = state | {"total_ops": torch.zeros(1), "stage1.rebnconvin.conv_s1.total_params": torch.zeros(1)}
    torch.save(counted, tmp_path / "w.pth")
    assert_loads(tmp_path / "w.pth", state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_load_as_float32(dtype, state, tmp_path):
    torch.save({k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}, tmp_path / "w.pth")
    loaded = load_network(tmp_path / "w.pth")[0]
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    key = "stage1.rebnconvin.conv_s1.weight"
    assert torch.equal(loaded.state_dict()[key], state[key].to(dtype).float())


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_pytorchs_first_format_and_parameters_load(network, state, tmp_path):
    torch.save(dict(network.named_parameters()) | dict(network.named_buffers()), tmp_path / "p.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_loads(tmp_path / "p.pth", state)
    assert_loads(tmp_path / "old.pth", state)


HARMLESS = {
    "float": np.float64(0.5), "float32": np.float32(0.25), "int": np.int64(3), "bool": np.bool_(True),
    "text": np.str_("hat"), "array": np.arange(12.0).reshape(3, 4), "fortran": np.asfortranarray(np.eye(3)[:2]),
    "big endian": np.arange(3, dtype=">f4"), "path": pathlib.PurePosixPath("a/b"), "real path": Path("a/b"),
    "set": {1, 2}, "nested": [{"miou": np.float64(0.5)}, (np.arange(3),)], "nothing": None,
}  # fmt: skip


def rename_in_pickle(path: Path, old: bytes, new: bytes) -> int:
    """Write another name into a checkpoint's pickle; how often it stood there."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content.replace(old, new) if name.endswith("data.pkl") else content)
    return sum(content.count(old) for name, content in entries.items() if name.endswith("data.pkl"))


@pytest.mark.parametrize("numpy_1", [True, False], ids=["NumPy 1", "NumPy 2"])
def test_harmless_things_beside_the_weights_do_no_harm(numpy_1, state, tmp_path):
    torch.save({"state_dict": state, "beside": HARMLESS}, tmp_path / "w.pth")
    if numpy_1:
        assert rename_in_pickle(tmp_path / "w.pth", b"cnumpy._core.", b"cnumpy.core.") == 2
    assert_loads(tmp_path / "w.pth", state)


def test_weights_as_numpy_arrays_load(state, tmp_path):
    torch.save({key: tensor.numpy() for key, tensor in state.items()}, tmp_path / "w.pth")
    assert_loads(tmp_path / "w.pth", state)


def test_a_foreign_files_own_words_are_not_taken_for_a_description(state, tmp_path):
    content = {"model": state, "mean": [0.485, 0.456, 0.406], "metrics": "good", "height": "tall", "iteration": None}
    torch.save(content, tmp_path / "w.pth")
    assert load_network(tmp_path / "w.pth")[1] == CheckpointInfo(("background", "upper", "lower", "full"))


# safetensors


def save_safetensors(state: StateDict, path: Path, metadata: dict | None = None) -> None:
    pytest.importorskip("safetensors")
    from safetensors.torch import save_file

    save_file(state, path, metadata)


@pytest.mark.parametrize("name", ["model.safetensors", "renamed.pth"])
def test_safetensors_load(name, state, tmp_path):
    save_safetensors(prefixed(state, "model."), tmp_path / name)
    assert_loads(tmp_path / name, state)


def test_safetensors_may_describe_themselves(state, tmp_path):
    text = json.dumps({"class_names": ["background", "a", "b", "c"], "height": 64, "width": 96})
    save_safetensors(state, tmp_path / "m.safetensors", {"format": "pt", "cloth_segmentation": text})
    info = load_network(tmp_path / "m.safetensors")[1]
    assert (info.class_names, info.height, info.width) == (("background", "a", "b", "c"), 64, 96)
    save_safetensors(state, tmp_path / "m.safetensors", {"cloth_segmentation": "[1]"})
    assert "describes itself wrongly" in error_of(tmp_path / "m.safetensors")


def test_safetensors_without_the_package_say_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    (tmp_path / "m.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    assert "pip install safetensors" in error_of(tmp_path / "m.safetensors")


def test_broken_safetensors_are_one_line(state, tmp_path):
    save_safetensors(state, tmp_path / "m.safetensors")
    whole = (tmp_path / "m.safetensors").read_bytes()
    for part in (9, 1000, len(whole) // 2, len(whole) - 1):
        (tmp_path / "m.safetensors").write_bytes(whole[:part])
        assert "m.safetensors" in error_of(tmp_path / "m.safetensors")


# Weights that give no masks, or none worth having


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("key", ["outconv.bias", "stage3.rebnconv2.bn_s1.running_var"])
def test_values_that_are_not_finite_are_refused(value, key, state, tmp_path):
    torch.save(state | {key: torch.full_like(state[key], value)}, tmp_path / "w.pth")
    assert f"{key} has values that are not finite" in error_of(tmp_path / "w.pth")


def test_saliency_weights_say_what_they_are_and_what_to_do(saliency_onnx, tmp_path):
    torch.save(build_network("u2netp", 1).state_dict(), tmp_path / "u2netp.pth")
    for path in (tmp_path / "u2netp.pth", saliency_onnx):
        message = error_of(path)
        for words in ("saliency weights", "setup_model_weights.py --model u2netp --weights", "train.py"):
            assert words in message
        with pytest.raises(UserError, match="saliency"):
            read_info(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_quantised_weights_are_named(state, tmp_path):
    key = "stage1.rebnconvin.conv_s1.weight"
    whole = torch.quantize_per_tensor(state[key], 0.1, 0, torch.qint8)
    for name, value in (("a.pth", whole), ("b.pth", whole.int_repr())):
        torch.save(state | {key: value}, tmp_path / name)
        assert f"{key} is quantised" in error_of(tmp_path / name)


# Files that are something else


def test_what_a_file_holds_counts_and_not_its_name(state, saliency_onnx, tmp_path):
    torch.save(state, tmp_path / "w.onnx")
    assert_loads(tmp_path / "w.onnx", state)
    (tmp_path / "w.pth").write_bytes(saliency_onnx.read_bytes())
    assert "saliency weights" in error_of(tmp_path / "w.pth")


def test_pytorchs_advice_to_load_unsafely_is_not_passed_on(tmp_path):
    (tmp_path / "w.pth").write_bytes(bytes(5000))
    assert "weights_only" not in error_of(tmp_path / "w.pth")


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pth"), io.BytesIO())
    return buffer.getvalue()


SOMETHING_ELSE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "web page": (b"\n <!DOCTYPE html><html>Quota exceeded</html>", "a web page, from a download that went wrong"),
    "web page with a mark": (b"\xef\xbb\xbf<html lang=en>", "a web page"),
    "XML": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a web page"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
    "Keras": (b"\x89HDF\r\n\x1a\n" + bytes(99), "a Keras or TensorFlow file"),
    "new Keras": (zipped("metadata.json", "config.json", "model.weights.h5"), "a Keras or TensorFlow model"),
    "TensorFlow Lite": (b"\x1c\0\0\0TFL3" + bytes(99), "TensorFlow Lite"),
    "program of torch.export": (zipped("m/archive_format", "m/data/weights"), "torch.export"),
    "model archive": (zipped("MAR-INF/MANIFEST.json", "handler.py", "w.pth"), "TorchServe model archive"),
    "arrays": (zipped("a.npy"), "NumPy arrays"),
    "array": (b"\x93NUMPY\x01\0" + bytes(99), "a NumPy array"),
    "zip": (zipped("u2net.pth", "README.md"), "a zip archive; unpack it"),
    "tar": (tarred(), "a tar archive; unpack it"),
    "gzip": (b"\x1f\x8b\x08" + bytes(99), "a gzip archive; unpack it"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(99), "a 7-Zip archive"),
    "photo": (b"\xff\xd8\xff\xe0" + bytes(99), "an image"),
}


def test_a_zip_with_a_broken_directory_is_one_line(state, tmp_path):
    torch.save(state, tmp_path / "w.pth")
    content = bytearray((tmp_path / "w.pth").read_bytes())
    content[content.rindex(b"PK\x01\x02")] ^= 0xFF
    (tmp_path / "w.pth").write_bytes(content)
    assert "damaged" in error_of(tmp_path / "w.pth")


@pytest.mark.parametrize("suffix", [".pth", ".onnx"])
@pytest.mark.parametrize(("content", "words"), SOMETHING_ELSE.values(), ids=SOMETHING_ELSE)
def test_a_file_that_is_something_else_is_named(content, words, suffix, tmp_path):
    (tmp_path / f"w{suffix}").write_bytes(content)
    assert words in error_of(tmp_path / f"w{suffix}")


def test_torchscript_is_named(network, tmp_path):
    export_torchscript(network, CheckpointInfo(height=64, width=64), tmp_path / "w.pt")
    assert "TorchScript archive" in error_of(tmp_path / "w.pt")


def test_folders_are_named(state, tmp_path):
    torch.save(state, tmp_path / "w.pth")
    with zipfile.ZipFile(tmp_path / "w.pth") as archive:
        archive.extractall(tmp_path / "unpacked")
    for folder in (tmp_path / "unpacked", next((tmp_path / "unpacked").iterdir())):
        assert "an unpacked checkpoint" in error_of(folder)
    (tmp_path / "empty").mkdir()
    assert "is a folder" in error_of(tmp_path / "empty")


def test_missing_and_oversized_files_are_refused_before_they_are_read(tmp_path):
    assert "no checkpoint at" in error_of(tmp_path / "none.pth")
    for name in ("huge.pth", "huge.onnx"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(MAX_BYTES + 1)  # a sparse file: takes no room
        assert "over 2 GB" in error_of(tmp_path / name)


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


@pytest.mark.parametrize(
    ("value", "name"),
    [(argparse.Namespace(lr=1), "argparse.Namespace"), (np.array([{}], object), "numpy.O8"), (io.StringIO(), "_io.")],
)
def test_other_objects_beside_the_weights_are_refused_by_name(value, name, state, tmp_path):
    torch.save({"state_dict": state, "extra": value}, tmp_path / "w.pth")
    message = error_of(tmp_path / "w.pth")
    assert f"it holds {name}" in message and "torch.save(network.state_dict()" in message


def test_a_whole_pickled_network_is_named(network, tmp_path):
    for name, whole in (("ours.pth", network), ("other.pth", nn.Sequential(nn.Conv2d(3, 4, 3)))):
        torch.save(whole, tmp_path / name)
        assert "a whole pickled network" in error_of(tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [
        {}, [], torch.zeros(3), {"weight": torch.zeros(3)}, {"state_dict": {}}, {"state_dict": {"a": 1}}, {"a": 1},
        {"epoch": 3, "model": {}}, {0: torch.zeros(3)}, "text", None, {"stage1": torch.zeros(1)},
        {"stage1.rebnconv1.conv_s1.weight": torch.zeros(16, 64, 3, 3), "outconv.bias": torch.tensor(1.0)},
    ],
)  # fmt: skip
def test_a_checkpoint_of_something_else_is_one_line(content, tmp_path):
    torch.save(content, tmp_path / "other.pth")
    assert "other.pth" in error_of(tmp_path / "other.pth")


def test_a_truncated_file_is_one_line_wherever_it_was_cut(network, tmp_path):
    path = tmp_path / "cut.pth"
    save_checkpoint(path, network, CheckpointInfo())
    whole = path.read_bytes()
    for part in (0, 0.0001, 0.01, 0.5, 0.99, 0.9999):
        path.write_bytes(whole[: int(part * len(whole))])
        assert "cut.pth" in error_of(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_file_of_text_or_noise_is_one_line(tmp_path):
    rng = np.random.default_rng(0)
    contents = [b"hello\n", b"\x80", b"\x80\x02", b"PK\x03\x04 no zip", bytes(range(256)) * 9]
    contents += [rng.bytes(int(rng.integers(1, 60))) for _ in range(150)]
    contents += [bytes([first]) + b"\n" + rng.bytes(20) for first in range(256)]
    contents += [bytes([0x80, 2, first]) + rng.bytes(20) for first in range(256)]
    for suffix in ("pth", "onnx"):
        path = tmp_path / f"noise.{suffix}"
        for content in contents:
            path.write_bytes(content)
            assert "noise" in error_of(path), content
