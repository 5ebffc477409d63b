"""Weights in and out: this project's checkpoints and every published form of them."""

from dataclasses import asdict, replace
from pathlib import Path

from torch import Tensor, nn

from data.classes import CLOTHES
from networks.checkpoint_info import CheckpointInfo
from networks.u2net import architecture_of_width, build_network
from utils.errors import UserError
from utils.serialization import load_safely, save_atomically

MAX_BYTES = 2_000_000_000
StateDict = dict[str, Tensor]


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
    return network.eval(), info


def read_info(path: str | Path) -> CheckpointInfo:
    """What a weight file says of itself, without reading the weights where the format allows that. Raises UserError."""
    return read_weights(path, mmap=True)[1]


def read_weights(path: str | Path, mmap: bool = False) -> tuple[StateDict, CheckpointInfo]:
    """State dict with published keys and float32 weights, and description, from any supported file.

    mmap: leave the weights on disk, in the precision they have there, until they are used. Raises UserError.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no checkpoint at {path}")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path} is over {MAX_BYTES / 1e9:g} GB; it is not a U2NET checkpoint")
    info = CheckpointInfo()
    if path.suffix.lower() == ".onnx":
        from networks.onnx_weights import read_onnx  # onnx is needed, and takes time to import, for these files alone

        state = read_onnx(path)
    else:
        content = load_safely(path, mmap)
        if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
            info, content = CheckpointInfo.of(content, path), content["state_dict"]
        if not content or not isinstance(content, dict) or not all(map(_is_named_tensor, content.items())):
            raise UserError(f"{path} does not hold a state dict; give a .pth with the network's weights")
        state = {key.removeprefix("module."): tensor for key, tensor in content.items()}
    head = state.get("outconv.bias")
    classes = len(head) if head is not None and head.ndim == 1 else 0
    if info.class_names is None or len(info.class_names) != classes:
        info = replace(info, class_names=CLOTHES.names if classes == 4 else tuple(map(str, range(classes))))
    if not mmap:
        state = {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    return state, info


def _is_named_tensor(item: tuple) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def architecture_of(state: StateDict, path: str | Path) -> str:
    """'u2net' or 'u2netp', told apart by the width of the first block. Raises UserError."""
    first, last = state.get("stage1.rebnconv1.conv_s1.weight"), state.get("outconv.bias")
    if first is not None and first.ndim == 4 and last is not None and last.ndim == 1:
        architecture = architecture_of_width(first.shape[0])
        if architecture:
            return architecture
    raise UserError(f"{path} holds neither U2NET nor U2NETP weights (first keys: {', '.join(list(state)[:3])})")


def check_keys(
    state: StateDict, network: nn.Module, path: str | Path, may_differ: frozenset[str] | set[str] = frozenset()
) -> None:
    """Raise UserError, with counts and the first few names, unless keys and shapes are the network's.

    may_differ: keys whose shapes are not looked at.
    """
    target = network.state_dict()
    common = target.keys() & state.keys() - may_differ
    faults = {
        "missing": [k for k in target if k not in state],
        "unexpected": [k for k in state if k not in target],
        "misshaped": [k for k in target if k in common and state[k].shape != target[k].shape],
    }
    if any(faults.values()):
        listed = [f"{len(keys)} {kind} ({', '.join(keys[:3])}, ...)" for kind, keys in faults.items() if keys]
        raise UserError(f"{path} does not fit the network: {'; '.join(listed)}")


def save_checkpoint(path: Path, network: nn.Module, info: CheckpointInfo, half: bool = False) -> None:
    """Write weights and description to a file that is whole or absent. half: float16 weights."""
    state = {k: v.detach().cpu() for k, v in network.state_dict().items()}
    if half:
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    save_atomically({"state_dict": state, **asdict(info)}, path)
