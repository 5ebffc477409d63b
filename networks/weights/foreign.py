"""Weight files as others write them: what kind a file is, where its weights lie, and their published names."""

import re
import zipfile
from pathlib import Path

from torch import Tensor

from networks.weights.info import MAX_BYTES, StateDict, description_of
from utils.errors import UserError
from utils.serialization import load_safely

MAX_DEPTH = 4  # of dicts in dicts that are searched for weights

ARCHIVES = (b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")  # first bytes: gzip to zstd
WEB_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<script", b"<!--")
# A key of the network: what stands before its published name, and that name.
KEY = re.compile(r"((?:[^.]*\.)*?)((?:stage[1-6]|stage[1-5]d|side[1-6]|outconv)\..*)", re.DOTALL)
WRAPPER = re.compile(
    r"(?<![^.])(_orig_mod|module|model|net|network|_fsdp_wrapped_module|_checkpoint_wrapped_module)(\.|\Z)"
)
COUNTERS = ("n_averaged", "total_ops", "total_params")  # of averages, and of a tool that counts operations
OUR_KEYS = {"state_dict", "network"}  # of this project's files: a checkpoint, the state of a run
# Where files keep their weights, the best ones first: averaged ones are those to predict with.
USUAL_KEYS = (
    "ema", "ema_state_dict", "state_dict_ema", "model_ema", "ema_model", "params_ema", "state_dict",
    "model_state_dict", "model_state", "model", "network", "net", "params", "weights", "module", "generator",
)  # fmt: skip


def read_weight_file(path: Path, mmap: bool = False) -> tuple[StateDict, dict]:
    """(state dict with published names, the file's description of itself) of any supported file. Raises UserError.

    The tensors have the precision and the values that the file has. The description is that of this project's files,
    and empty for others. mmap: leave the weights on disk until they are used, where the format allows that.
    """
    kind = kind_of(path)
    if kind == "onnx":
        from networks.weights.from_onnx import read_onnx  # the package onnx takes time to import

        return read_onnx(path)
    if kind == "safetensors":
        content, description = _read_safetensors(path)
    else:
        content = load_safely(path, mmap)
        ours = isinstance(content, dict) and "class_names" in content and not OUR_KEYS.isdisjoint(content)
        description = content if ours else {}
    state = _search(content, path, 0, {})
    if state is None:
        raise UserError(f"{path} does not hold a state dict of U2NET or U2NETP{_contents(content)}")
    return state, description


def kind_of(path: Path) -> str:
    """'torch', 'safetensors' or 'onnx', by what the file holds. Raises UserError, and says what any other file is."""
    if path.is_dir():
        raise UserError(f"{path} is a folder; give a file of weights")
    if not path.is_file():
        raise UserError(f"there is no checkpoint at {path}")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise _too_large(path)
    if size == 0:
        raise UserError(f"{path} is empty; download it again")
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"version https://git-lfs"):
        raise UserError(f"{path} is a Git LFS pointer, not the file itself; run git lfs pull, or download the file")
    if b"<net " in text and path.suffix.lower() == ".xml":
        raise UserError(f"{path} is an OpenVINO model, which can only predict; give the weights that it was made from")
    if text.startswith(WEB_PAGES):
        raise UserError(f"{path} is a web page, from a failed download; open its address in a browser and try again")
    if head.startswith(b"PK"):
        _check_zip(path)
        return "torch"
    if head.startswith(ARCHIVES) or head[257:262] == b"ustar":
        raise UserError(f"{path} is an archive; unpack it and give the weights inside")
    if head.startswith(b"\x80"):  # a pickle: PyTorch's first format
        return "torch"
    if head[8:9] == b"{" and 0 < int.from_bytes(head[:8], "little") <= size - 8:
        return "safetensors"
    if path.suffix.lower() == ".onnx" or (head[:1] == b"\x08" and head[2:3] == b"\x12"):  # ir_version, producer_name
        return "onnx"
    raise UserError(f"{path} is not a weight file; give a .pth, .safetensors or .onnx of a U2NET")


def _too_large(path: Path) -> UserError:
    return UserError(f"{path} holds over {MAX_BYTES / 1e9:g} GB; it is not a U2NET checkpoint")


def _check_zip(path: Path) -> None:
    """Raise UserError where a zip archive is not a checkpoint of PyTorch."""
    try:
        with zipfile.ZipFile(path) as archive:
            files = archive.infolist()
    except Exception:  # zipfile raises what it likes on broken directories
        raise UserError(f"{path} is damaged or cut off; download it again") from None
    if sum(file.file_size for file in files) > MAX_BYTES:  # unpacked: zeros shrink to nearly nothing
        raise _too_large(path)
    names = {file.filename.rpartition("/")[2] for file in files}
    if "constants.pkl" in names:
        raise UserError(f"{path} is a TorchScript archive; give the weights that it was made from")
    if "data.pkl" not in names:
        raise UserError(f"{path} is an archive; unpack it and give the weights inside")


def _read_safetensors(path: Path) -> tuple[StateDict, dict]:
    try:
        from safetensors import safe_open
        from safetensors.torch import load
    except ImportError:
        raise UserError(f"{path} is a safetensors file; to read it, run pip install safetensors") from None
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
        content = load(path.read_bytes())  # safe_open's tensors change with the file, and need a name in UTF-8
    except Exception as error:  # the library's own, and those of tensors that PyTorch does not have
        raise UserError(f"cannot read {path} (truncated, or not safetensors): {error}") from None
    return content, description_of(metadata, path)


def _search(
    content: object, path: Path, depth: int, found: dict[tuple[int, int], StateDict | None]
) -> StateDict | None:
    """The state dict with published names in what a file holds, wherever in it. Raises UserError on several.

    found: what each dict gave, by identity and depth; a small file can hold one dict in billions of places.
    """
    if not isinstance(content, dict) or depth > MAX_DEPTH:
        return None
    place = id(content), depth
    if place not in found:
        found[place] = _search_dict(content, path, depth, found)
    return found[place]


def _search_dict(content: dict, path: Path, depth: int, found: dict) -> StateDict | None:
    """See _search."""
    tensors = {
        key: value.detach() for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)
    }
    if any(map(KEY.fullmatch, tensors)):
        return published_names(tensors, path)
    inside = {str(key): _search(value, path, depth + 1, found) for key, value in content.items()}
    inside = {key: state for key, state in inside.items() if state is not None}
    usual = next((key for key in USUAL_KEYS if key in inside), None)
    if usual is None and len(inside) > 1:
        raise _several(path, list(inside))
    return inside[usual or next(iter(inside))] if inside else None


def published_names(tensors: StateDict, path: Path) -> StateDict:
    """The tensors of one network under their published names, without wrappers' prefixes. Raises UserError.

    Other tensors behind the network's prefix stay, and check_keys reports them; those behind another prefix, such as
    a loss's, are left out.
    """
    networks: dict[str, StateDict] = {}  # by the prefix without wrappers
    beginnings: dict[str, set[str]] = {}  # the same prefixes as the file spells them
    others: StateDict = {}
    for key, tensor in tensors.items():
        if key.rpartition(".")[2] in COUNTERS:
            continue
        parts = KEY.fullmatch(key)
        if parts is None:
            others[key] = tensor
            continue
        prefix, name = (WRAPPER.sub("", part) for part in parts.groups())
        state = networks.setdefault(prefix, {})
        if name in state:
            raise UserError(f"{path} holds {name} twice, behind different prefixes; save one network alone")
        state[name] = tensor
        beginnings.setdefault(prefix, set()).add(parts[1])
    chosen = _choose_network(list(networks), path)
    own = tuple(beginnings[chosen])
    return networks[chosen] | {key: tensor for key, tensor in others.items() if key.startswith(own)}


def _choose_network(prefixes: list[str], path: Path) -> str:
    """The prefix of the network to predict with: the averaged one, else the only one. Raises UserError."""
    averaged = [prefix for prefix in prefixes if "ema" in prefix.lower()]
    for candidates in (averaged, [prefix for prefix in prefixes if not prefix], prefixes):
        if len(candidates) == 1:
            return candidates[0]
    raise _several(path, [prefix.removesuffix(".") for prefix in prefixes])


def _several(path: Path, names: list[str]) -> UserError:
    return UserError(f"{path} holds several networks ({', '.join(names)}); save the one you want alone")


def _contents(content: object) -> str:
    if isinstance(content, dict):
        return f" (first keys: {', '.join(map(str, list(content)[:3]))})" if content else " (it is empty)"
    return f" (it holds a {type(content).__name__})"
