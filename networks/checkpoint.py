"""Weights in and out: every published form of them -> the network they belong to."""

import pickle
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from data.classes import CLOTHES
from networks.batchnorm import undo_folding
from networks.u2net import ARCHITECTURES
from utils.errors import UserError
from utils.files import write_atomically

MAX_BYTES = 2_000_000_000
MAX_SIDE = 8192  # of the square a checkpoint may ask for
StateDict = dict[str, Tensor]


@dataclass
class CheckpointInfo:
    """What a checkpoint says of itself beside its weights; the defaults are the published network's."""

    class_names: tuple[str, ...] | None = None
    height: int = 768
    width: int = 768
    mean: float = 0.5
    std: float = 0.5
    iteration: int = 0
    metrics: dict[str, float] | None = None


def build_network(architecture: str, num_classes: int) -> nn.Module:
    return ARCHITECTURES[architecture](3, num_classes)


def load_network(path: str | Path) -> tuple[nn.Module, CheckpointInfo]:
    """The network of a weight file, in eval mode, and what the file says of itself.

    Takes a plain state dict, one behind ``module.``, this project's checkpoints and an ONNX export with
    batch norm folded into the convolutions; architecture and number of classes are read from the tensors.
    Raises UserError for anything else.
    """
    state, info = read_weights(path)
    network = build_network(architecture_of(state, path), state["outconv.bias"].shape[0])
    check_keys(state, network, path)
    network.load_state_dict(state)
    classes = state["outconv.bias"].shape[0]
    if info.class_names is None or len(info.class_names) != classes:
        info.class_names = CLOTHES.names if classes == 4 else tuple(map(str, range(classes)))
    return network.eval(), info


def initialise(network: nn.Module, path: str | Path) -> tuple[int, int]:
    """Copy every tensor of a weight file that fits into ``network``: (copied, left as they were).

    The head differs with the number of classes, so its 14 tensors may stay as they were initialised.
    Raises UserError when anything else does not fit.
    """
    state, _ = read_weights(path)
    target = network.state_dict()
    head = {key for key in target if key.startswith(("side", "outconv"))}
    misfits = {k for k in head & state.keys() if state[k].shape != target[k].shape}
    check_keys({k: v for k, v in state.items() if k not in misfits} | {k: target[k] for k in misfits}, network, path)
    fitting = {k: v for k, v in state.items() if k not in misfits}
    network.load_state_dict(fitting, strict=False)
    return len(fitting), len(misfits)


def read_weights(path: str | Path) -> tuple[StateDict, CheckpointInfo]:
    """Published-key, float32 state dict and description from any supported file. Raises UserError."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path} is over {MAX_BYTES / 1e9:g} GB; that is no U2NET checkpoint")
    if path.suffix.lower() == ".onnx":
        return _read_onnx(path), CheckpointInfo()
    content = load_safely(path)
    info = CheckpointInfo()
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        known = {field.name for field in fields(CheckpointInfo)}
        info = CheckpointInfo(**{k: v for k, v in content.items() if k in known})
        _check_info(info, path)
        content = content["state_dict"]
    named_tensors = isinstance(content, dict) and all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items()
    )
    if not named_tensors or not content:
        raise UserError(f"{path} holds no state dict; give a .pth with the network's weights")
    state = {key.removeprefix("module."): tensor for key, tensor in content.items()}
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}, info


def _check_info(info: CheckpointInfo, path: Path) -> None:
    """Raise UserError where a file describes itself with values that no network has."""
    sizes_fit = all(type(side) is int and 32 <= side <= MAX_SIDE for side in (info.height, info.width))
    numbers_fit = all(isinstance(number, float | int) for number in (info.mean, info.std)) and info.std > 0
    names = info.class_names
    names_fit = names is None or (isinstance(names, list | tuple) and all(isinstance(name, str) for name in names))
    if not (sizes_fit and numbers_fit and names_fit):
        raise UserError(f"{path} describes itself wrongly (height, width, mean, std or class_names)")


def load_safely(path: Path) -> object:
    """torch.load that runs no code from the file. Raises UserError."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"{path} is refused: it is no checkpoint, or loading it would run code from the file; "
            "save the plain state dict instead (torch.save(network.state_dict(), ...))"
        ) from None
    except Exception as error:  # a broken pickle can trip the unpickler anywhere
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"cannot read {path} (truncated, or not a checkpoint): {reason[0]}") from None


def architecture_of(state: StateDict, path: str | Path) -> str:
    """'u2net' or 'u2netp', told apart by the width of the first block. Raises UserError."""
    first, last = state.get("stage1.rebnconv1.conv_s1.weight"), state.get("outconv.bias")
    widths = {"u2net": 32, "u2netp": 16}
    for name, width in widths.items():
        if first is not None and first.ndim == 4 and first.shape[0] == width and last is not None and last.ndim == 1:
            return name
    raise UserError(f"{path} holds neither U2NET nor U2NETP weights (first keys: {', '.join(list(state)[:3])})")


def check_keys(state: StateDict, network: nn.Module, path: str | Path) -> None:
    """Raise UserError, with counts and the first few names, unless keys and shapes are the network's."""
    target = network.state_dict()
    faults = {
        "missing": [k for k in target if k not in state],
        "unexpected": [k for k in state if k not in target],
        "misshaped": [k for k in target if k in state and state[k].shape != target[k].shape],
    }
    if any(faults.values()):
        told = [f"{len(keys)} {kind} ({', '.join(keys[:3])}, ...)" for kind, keys in faults.items() if keys]
        raise UserError(f"{path} does not fit the network: {'; '.join(told)}")


def _read_onnx(path: Path) -> StateDict:
    """State dict of an ONNX export whose batch norms were folded into the convolutions.

    The exporter keeps the order of execution, which is the order of the published keys; every convolution's
    shape is checked against the key it is given to.
    """
    try:
        graph = onnx.load(path, load_external_data=False).graph
        tensors = {t.name: t for t in graph.initializer}
        convolutions = [[tensors[name] for name in node.input[1:]] for node in graph.node if node.op_type == "Conv"]
        loaded = [[torch.from_numpy(numpy_helper.to_array(t).copy()).float() for t in conv] for conv in convolutions]
    except Exception as error:  # protobuf's own exceptions differ from release to release
        raise UserError(f"cannot read {path} as ONNX with its weights inside ({type(error).__name__})") from None
    if len(loaded) != 119 or any(len(conv) != 2 for conv in loaded):
        raise UserError(f"{path} is no U2NET export: {len(loaded)} convolutions, U2NET has 119, each with a bias")
    narrow = loaded[1][0].shape[0] == 16
    template = build_network("u2netp" if narrow else "u2net", loaded[-1][1].shape[0])
    names = [name for name, module in template.named_modules() if isinstance(module, nn.Conv2d)]
    state = {}
    for name, (weight, bias) in zip(names, loaded, strict=True):
        state |= {f"{name}.weight": weight, f"{name}.bias": bias}
    undo_folding(template)
    rest = {k: v for k, v in template.state_dict().items() if ".bn_s1." in k}
    state = {key: (state | rest)[key] for key in template.state_dict()}
    check_keys(state, template, path)
    return state


def save_checkpoint(path: Path, network: nn.Module, info: CheckpointInfo, half: bool = False) -> None:
    """Write weights and description, so that the file is whole or absent. half: float16 weights."""
    state = {k: v.detach().cpu() for k, v in network.state_dict().items()}
    if half:
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    save_atomically({"state_dict": state, **asdict(info)}, path)


def save_atomically(content: object, path: Path) -> None:
    """torch.save, so that the file is whole or absent. Raises UserError when it cannot be written."""
    write_atomically(path, lambda file: torch.save(content, file))
