"""Weight files from elsewhere: odd but sound ones load, every other is one clear line."""

import argparse
import io
import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from networks.exporters import export_torchscript
from networks.u2net import build_network
from networks.weights import checkpoint, foreign
from networks.weights.checkpoint import load_network, read_info
from networks.weights.info import MAX_BYTES, CheckpointInfo
from tests.helpers import trained_like
from utils.errors import UserError
from utils.training.state import build_state

StateDict = dict[str, Tensor]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def state() -> StateDict:
    return dict(trained_like("u2netp", 4).state_dict())


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


WRAPPERS = ["", "module.", "_orig_mod.", "model.", "net.", "module._orig_mod."]
PREFIXES = ["", "module._orig_mod.", "generator.u2net."]
KEYS = ["state_dict", "anything"]
OPTIMIZER = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]}
# (state, another network's state) -> what is saved; the first one must come back
SOUND: dict[str, Callable[[StateDict, StateDict], object]] = {
    **{f"prefix {prefix}": lambda s, o, prefix=prefix: prefixed(s, prefix) for prefix in PREFIXES},
    **{key: lambda s, o, key=key: {"epoch": 3, key: prefixed(s, "module."), "optimizer": OPTIMIZER} for key in KEYS},
    "parameters": lambda s, o: {key: nn.Parameter(t, t.is_floating_point()) for key, t in s.items()},
    "prefixes that differ": lambda s, o: {f"{WRAPPERS[i % 6]}{key}": s[key] for i, key in enumerate(s)},
    "wrappers within": lambda s, o: {
        key.replace("stage3.", "stage3._orig_mod.").replace("side2.", "side2.module."): s[key] for key in s
    },
    "two levels down": lambda s, o: {"checkpoint": {"model": OrderedDict(s)}, "version": (1, 2)},
    "Lightning's, with a loss": lambda s, o: {
        "epoch": 1, "loops": {"fit_loop": {}}, "optimizer_states": [{"state": {}}],
        "state_dict": prefixed(s, "model.") | {"criterion.weight": torch.ones(4)},
    },
    "average below": lambda s, o: {"model": o, "ema": prefixed(s, "module.") | {"n_averaged": torch.tensor(7)}},
    "average beside": lambda s, o: prefixed(o, "model.") | prefixed(s, "ema_model."),
    "counters of operations": lambda s, o: s | dict.fromkeys(
        ("total_ops", "stage1.rebnconvin.conv_s1.total_params"), torch.zeros(1)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_weights_are_found_wherever_they_lie(name, state, other, tmp_path):
    torch.save(SOUND[name](state, other), tmp_path / "w.pth")
    assert_loads(tmp_path / "w.pth", state)


@pytest.mark.parametrize("ema_decay", [0, 0.9])
def test_the_state_of_a_run_is_read_and_its_average_preferred(ema_decay, state, other, tmp_path):
    run = build_state(trained_like("u2netp", 4), "adam", 1e-3, 0.0, ema_decay, "fp32")
    if run.ema:
        run.ema.module.load_state_dict(other)
    run.save(tmp_path / "latest.pth")
    assert_loads(tmp_path / "latest.pth", other if run.ema else state)


def test_averages_and_pytorchs_first_format_load(state, tmp_path):
    average = AveragedModel(trained_like("u2netp", 4), use_buffers=True).state_dict()
    torch.save(average, tmp_path / "average.pth")
    torch.save(state, tmp_path / "first.onnx", _use_new_zipfile_serialization=False)  # its name does not count
    for path in tmp_path.iterdir():
        assert_loads(path, state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_load_as_float32_and_files_without_counters_get_some(dtype, state, tmp_path):
    found = {key: tensor.to(dtype) for key, tensor in state.items() if tensor.is_floating_point()}
    torch.save(found, tmp_path / "w.pth")
    for key, tensor in load_network(tmp_path / "w.pth")[0].state_dict().items():
        assert torch.equal(tensor, found[key].float() if key in found else torch.tensor(0)), key


def test_harmless_things_of_numpy_1_beside_the_weights_do_no_harm(state, tmp_path):
    beside = {
        "float": np.float64(0.5), "array": np.arange(12.0).reshape(3, 4), "big endian": np.arange(3, dtype=">f4"),
        "path": Path("a/b"), "set": {1, 2}, "nested": [{"miou": np.float64(0.5)}, (np.arange(3),)], "nothing": None,
    }  # fmt: skip
    buffer, path = io.BytesIO(), tmp_path / "w.pth"
    torch.save({"state_dict": state, "beside": beside}, buffer)
    with zipfile.ZipFile(buffer) as archive, zipfile.ZipFile(path, "w") as renamed:
        for name in archive.namelist():
            renamed.writestr(name, archive.read(name).replace(b"cnumpy._core.", b"cnumpy.core."))
    assert_loads(path, state)


def test_a_foreign_files_own_words_are_not_taken_for_a_description(state, tmp_path):
    content = {"model": state, "mean": [0.485, 0.456, 0.406], "metrics": "good", "height": "tall", "iteration": None}
    torch.save(content, tmp_path / "w.pth")
    assert load_network(tmp_path / "w.pth")[1] == CheckpointInfo(("background", "upper", "lower", "full"))


def test_safetensors_load_and_may_describe_themselves(state, tmp_path):
    save_file, path = pytest.importorskip("safetensors.torch").save_file, tmp_path / "renamed.pth"
    save_file(prefixed(state, "model."), path)
    assert_loads(path, state)
    text = json.dumps({"class_names": ["background", "a", "b", "c"], "height": 64, "width": 96})
    save_file(state, path, {"format": "pt", "cloth_segmentation": text})
    assert load_network(path)[1] == CheckpointInfo(("background", "a", "b", "c"), 64, 96)
    for text in ("[1]", "[" * 5000):
        save_file(state, path, {"cloth_segmentation": text})
        assert "cloth_segmentation is '[" in (said := error_of(path)) and "it must be a JSON object" in said


# Files that are refused

KEY = "stage1.rebnconvin.conv_s1.weight"
ARCHIVE = io.BytesIO()
with zipfile.ZipFile(ARCHIVE, "w") as file:
    file.writestr("MAR-INF/MANIFEST.json", b"content")
SAFETENSORS_HEADER = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
CUT_SAFETENSORS = len(SAFETENSORS_HEADER).to_bytes(8, "little") + SAFETENSORS_HEADER
WITHIN_ITSELF: dict = {}
WITHIN_ITSELF["again"] = WITHIN_ITSELF
IN_BILLIONS_OF_PLACES: dict = {}
for _ in range(5):
    IN_BILLIONS_OF_PLACES = dict.fromkeys(range(300), IN_BILLIONS_OF_PLACES)
DESCRIBED = {"class_names": ["background", "upper", "lower", "full"]}


class ManyBytes:
    def __reduce__(self):
        return bytes, (10_000_000,)


# The file's bytes, or (state, another network's state) -> what is saved; words of the message
REFUSED: dict[str, tuple[bytes | Callable[[StateDict, StateDict], object], str]] = {
    "empty": (b"", "is empty; download it again"),
    "web page": (b"\n <!DOCTYPE html><html>Quota exceeded</html>", "is a web page, from a failed download"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
    "zip": (ARCHIVE.getvalue(), "is an archive; unpack it"), "zip cut off": (ARCHIVE.getvalue()[:-30], "or cut off"),
    "gzip": (b"\x1f\x8b\x08" + bytes(99), "an archive"), "text": (b"hello\n", "is not a weight file"),
    "cut safetensors": (CUT_SAFETENSORS, "not safetensors"),
    "infinite": (lambda s, o: s | {KEY: s[KEY] / 0}, f"{KEY} has values that are not finite"),
    "integers": (lambda s, o: s | {KEY: s[KEY].char()}, f"{KEY} is quantised"),
    "few numbers made to look like many": (
        lambda s, o: s | {KEY: torch.zeros(1).expand(10**13)}, f"{KEY} is quantised or not a plain tensor",
    ),
    "two networks": (lambda s, o: {"first": s, "second": o}, "holds several networks (first, second)"),
    "two networks behind prefixes": (
        lambda s, o: prefixed(s, "net_a.") | prefixed(o, "net_b."), "holds several networks (net_a, net_b)",
    ),
    "two networks behind wrappers": (
        lambda s, o: prefixed(s, "module.") | prefixed(o, "net."), "twice, behind different prefixes",
    ),
    "one class": (
        lambda s, o: build_network("u2netp", 1).state_dict(), "setup_model_weights.py --model u2netp --weights",
    ),
    "an object": (lambda s, o: {"state_dict": s, "args": argparse.Namespace()}, "it holds argparse.Namespace as well"),
    "a wish for memory": (lambda s, o: {"state_dict": s, "extra": ManyBytes()}, "cannot read"),
    "an array of objects": (lambda s, o: {"state_dict": s, "extra": np.array([{}], object)}, "it holds numpy.O8"),
    "a whole network": (lambda s, o: trained_like("u2netp", 4), "a whole pickled network"),
    "a dict in billions of places": (lambda s, o: IN_BILLIONS_OF_PLACES, "does not hold a state dict"),
    "a number beyond all floats": (lambda s, o: {"state_dict": s, "mean": 10**400, **DESCRIBED}, "must be a number"),
    "nothing": (lambda s, o: {}, "(it is empty)"), "itself": (lambda s, o: WITHIN_ITSELF, "(first keys: again)"),
    "another state dict": (lambda s, o: {"weight": torch.zeros(3)}, "(first keys: weight)"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_without_usable_weights_says_why(name, state, other, tmp_path):
    content, words = REFUSED[name]
    if isinstance(content, bytes):
        (tmp_path / "w.pth").write_bytes(content)
    else:
        torch.save(content(state, other), tmp_path / "w.pth")
    message = error_of(tmp_path / "w.pth")
    assert words in message and "weights_only" not in message  # PyTorch's advice to load unsafely is not passed on


def test_what_no_weights_can_be_is_named(tmp_path, monkeypatch):
    assert "is a folder; give a file" in error_of(tmp_path)
    with (tmp_path / "huge.pth").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # a sparse file: takes no room
    assert "over 2 GB" in error_of(tmp_path / "huge.pth")
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", b"")
        file.writestr("archive/data/0", bytes(2_000_000))
    with monkeypatch.context() as patch:
        patch.setattr(foreign, "MAX_BYTES", 1_000_000)
        assert "holds over 0.001 GB" in error_of(tmp_path / "bomb.pth")
    monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
    (tmp_path / "m.pth").write_bytes(CUT_SAFETENSORS + bytes(4))
    assert "pip install safetensors" in error_of(tmp_path / "m.pth")
    export_torchscript(trained_like("u2netp", 4), CheckpointInfo(height=64, width=64), tmp_path / "w.pt")
    assert "TorchScript archive" in error_of(tmp_path / "w.pt")


def test_a_tensor_larger_than_any_weight_file_is_refused_before_its_values_are_looked_at(state, tmp_path, monkeypatch):
    torch.save(state | {KEY: torch.full((300_000,), torch.nan)}, tmp_path / "w.pth")
    monkeypatch.setattr(checkpoint, "MAX_BYTES", 1_000_000)
    assert f"{KEY} has over 0.001 GB" in error_of(tmp_path / "w.pth")


def test_a_file_that_was_cut_anywhere_and_noise_are_one_line(state, tmp_path):
    whole, rng = io.BytesIO(), np.random.default_rng(0)
    torch.save(state, whole)
    contents = [bytes([first]) + b"\n" + rng.bytes(20) for first in range(256)]
    contents += [bytes([0x80, 2, first]) + rng.bytes(20) for first in range(256)]
    for file in (whole.getvalue(), pytest.importorskip("safetensors.torch").save(state)):
        contents += [file[:length] for length in (9, *(int(p * len(file)) for p in (1e-4, 0.01, 0.5, 0.99)), -1)]
    for path in (tmp_path / "noise.pth", tmp_path / "noise.onnx"):
        for content in contents:
            path.write_bytes(content)
            error_of(path)


class RunsCode(NamedTuple):
    proof: Path

    def __reduce__(self):
        return Path.touch, (self.proof,)


@pytest.mark.parametrize("protocol", ["zip", "legacy", "bare pickle"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(protocol, state, tmp_path):
    proof, path = tmp_path / "ran", tmp_path / "evil.pth"
    content = {"state_dict": state, "extra": RunsCode(proof)}
    if protocol == "bare pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=protocol == "zip")
    assert "run code" in error_of(path) and not proof.exists()
