"""Weight files as others write them: what kind a file is, where its weights lie, and their published names."""

import re
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from networks.weights.info import MAX_BYTES, StateDict, description_of
from utils.errors import UserError
from utils.serialization import PickledArray, load_safely

MAX_DEPTH = 4  # of dicts in dicts that are searched for weights

# First bytes of files that are something else. Part of a text file's first bytes is looked for in lower case.
OTHER_FORMATS = {
    b"\x89HDF\r\n\x1a\n": "a Keras or TensorFlow file (HDF5)",
    b"\x1f\x8b": "a gzip archive; unpack it and give the file inside",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive; unpack it and give the file inside",
    b"Rar!": "a RAR archive; unpack it and give the file inside",
    b"BZh": "a bzip2 archive; unpack it and give the file inside",
    b"\xfd7zXZ": "an xz archive; unpack it and give the file inside",
    b"\x28\xb5\x2f\xfd": "a zstd archive; unpack it and give the file inside",
    b"\x93NUMPY": "a NumPy array",
    b"GGUF": "a GGUF file, of language models",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"%PDF": "a PDF document",
}
# A file that an archive of this kind contains, by its name in the archive or after the archive's own folder.
OTHER_ARCHIVES = {
    r"(.*/)?constants\.pkl|(.*/)?code/.*": "a TorchScript archive; give the weights that it was made from",
    r"(.*/)?(archive_format|serialized_exported_program\.json)": "a program of torch.export; give the weights that it "
    "was made from",
    r"MAR-INF/MANIFEST\.json": "a TorchServe model archive; give the weights that it was built with",
    r"(.*/)?model\.weights\.h5|(.*/)?saved_model\.pb": "a Keras or TensorFlow model",
    r".*\.npy": "an archive of NumPy arrays",
}
PARTS = re.compile(r"stage[1-6]|stage[1-5]d|side[1-6]|outconv")  # of the network, first in its published names
WRAPPERS = {"_orig_mod", "module", "model", "net", "network", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
COUNTERS = ("n_averaged", "total_ops", "total_params")  # of averages, and of a tool that counts operations
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
        from networks.weights.from_onnx import (
            read_onnx,  # onnx is needed, and takes time to import, for these files alone
        )

        return read_onnx(path)
    if kind == "safetensors":
        content, description = _read_safetensors(path)
    else:
        content = load_safely(path, mmap)
        ours = isinstance(content, dict) and "class_names" in content and "state_dict" in content
        description = content if ours else {}
    return find_weights(content, path), description


def kind_of(path: Path) -> str:
    """'torch', 'safetensors' or 'onnx', by what the file holds. Raises UserError, and says what any other file is."""
    if path.is_dir():
        raise UserError(f"{path} is a folder{_unpacked(path)}; give a file of weights (there is no checkpoint at it)")
    if not path.is_file():
        raise UserError(f"there is no checkpoint at {path}")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise UserError(f"{path} is over {MAX_BYTES / 1e9:g} GB; it is not a U2NET checkpoint")
    if size == 0:
        raise UserError(f"{path} is empty; get it anew")
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    other = _other_format(path, head)
    if other:
        raise UserError(f"{path} is {other}")
    if head[:1] == b"\x80" or zipfile.is_zipfile(path):
        return "torch"
    if head[8:9] == b"{" and 0 < int.from_bytes(head[:8], "little") <= size - 8:
        return "safetensors"
    begins_as_onnx = head[:1] == b"\x08" and head[2:3] == b"\x12"  # the fields ir_version and producer_name
    return "onnx" if begins_as_onnx or path.suffix.lower() == ".onnx" else "torch"


def _unpacked(folder: Path) -> str:
    if (folder / "data.pkl").exists() or any(folder.glob("*/data.pkl")):
        return ", an unpacked checkpoint"
    return ", a TensorFlow model" if (folder / "saved_model.pb").exists() else ""


def _other_format(path: Path, head: bytes) -> str | None:
    """What a file is, from its first bytes or the names in it, if it is not a file of weights."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer in place of the file; run git lfs pull, or download the file itself"
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<script", b"<!--")):
        return "a web page, from a download that went wrong; open its address in a browser and get the file anew"
    for magic, name in OTHER_FORMATS.items():
        if head.startswith(magic):
            return name
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model"
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it and give the file inside"
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # zipfile raises what it likes on broken directories
        return "damaged; get it anew"
    for pattern, name in OTHER_ARCHIVES.items():
        if any(re.fullmatch(pattern, entry) for entry in names):
            return name
    if not any(name.endswith("data.pkl") for name in names):
        return "a zip archive; unpack it and give the file inside"
    return None


def _read_safetensors(path: Path) -> tuple[StateDict, dict]:
    try:
        from safetensors import safe_open
    except ImportError:
        raise UserError(f"{path} is a safetensors file; to read it, run pip install safetensors") from None
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            content = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it cannot be iterated over)
    except Exception as error:  # the library's own, and those of tensors that PyTorch does not have
        raise UserError(f"cannot read {path} (truncated, or not safetensors): {error}") from None
    return content, description_of(metadata, path)


def find_weights(content: object, path: Path) -> StateDict:
    """The state dict with published names in what a file holds, wherever in it. Raises UserError."""
    found = _search(content, path, 0)
    if found is None:
        raise UserError(f"{path} does not hold a state dict of U2NET or U2NETP{_contents(content)}")
    return found


def _search(content: object, path: Path, depth: int) -> StateDict | None:
    if not isinstance(content, dict) or depth > MAX_DEPTH:
        return None
    tensors = {key: _tensor(value) for key, value in content.items() if isinstance(key, str)}
    tensors = {key: value for key, value in tensors.items() if value is not None}
    if any(_split(key) for key in tensors):
        return published_names(tensors, path)
    inside = {key: _search(value, path, depth + 1) for key, value in content.items()}
    inside = {str(key): state for key, state in inside.items() if state is not None}
    usual = next((key for key in USUAL_KEYS if key in inside), None)
    if usual is None and len(inside) > 1:
        raise _several(path, list(inside))
    return inside[usual or next(iter(inside))] if inside else None


def _tensor(value: object) -> Tensor | None:
    if isinstance(value, PickledArray) and value.value.dtype.kind in "biuf":
        native = value.value.astype(value.value.dtype.newbyteorder("="))
        return torch.from_numpy(native)
    return value.detach() if isinstance(value, Tensor) else None


def published_names(tensors: StateDict, path: Path) -> StateDict:
    """The tensors without what wrappers put before and between the parts of their names. Raises UserError.

    Names that are not the network's, behind the same prefix, stay, for the check that follows to tell of them;
    what has another prefix, such as a loss's, belongs to something else and is left out.
    """
    networks: dict[tuple[str, ...], StateDict] = {}  # by the part of the prefix that is not a wrapper's
    prefixes: set[tuple[str, ...]] = set()
    for key, tensor in tensors.items():
        parts = _split(key)
        if parts is None or parts[1][-1] in COUNTERS:
            continue
        prefixes.add(parts[0])
        state = networks.setdefault(_unwrapped(parts[0]), {})
        name = ".".join(_unwrapped(parts[1]))
        if name in state:
            raise UserError(f"{path} holds {name} twice, behind different prefixes; save one network alone")
        state[name] = tensor
    averaged = [name for name in networks if any("ema" in part.lower() for part in name)]
    if len(averaged) == 1:
        chosen = averaged[0]
    elif () in networks or len(networks) == 1:
        chosen = () if () in networks else next(iter(networks))
    else:
        raise _several(path, [".".join(name) for name in networks])
    state = networks[chosen]
    own = tuple(".".join((*prefix, "")) for prefix in prefixes if _unwrapped(prefix) == chosen)
    for key, tensor in tensors.items():
        if _split(key) is None and key.startswith(own) and key.rpartition(".")[2] not in COUNTERS:
            state[key] = tensor
    return state


def _split(key: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """(prefix, name) of a key, each in parts; None where no part of it is the network's."""
    parts = tuple(key.split("."))
    first = next((i for i, part in enumerate(parts) if PARTS.fullmatch(part)), None)
    return None if first is None or first == len(parts) - 1 else (parts[:first], parts[first:])


def _unwrapped(parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part for part in parts if part not in WRAPPERS)


def _several(path: Path, names: list[str]) -> UserError:
    return UserError(f"{path} holds several networks ({', '.join(names)}); save the one you want alone")


def _contents(content: object) -> str:
    if isinstance(content, dict):
        return f" (first keys: {', '.join(map(str, list(content)[:3]))})" if content else " (it is empty)"
    return f" (it holds a {type(content).__name__})"
