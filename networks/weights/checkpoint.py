"""Weights in and out: a network from any supported file, and this project's own checkpoints."""

from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from data.classes import CLOTHES, MAX_CLASSES
from networks.u2net import architecture_of_width, build_network
from networks.weights.foreign import read_weight_file
from networks.weights.info import MAX_BYTES, CheckpointInfo, StateDict
from networks.weights.published import local_weights
from utils.errors import UserError
from utils.serialization import save_atomically


def load_network(path: str | Path) -> tuple[nn.Module, CheckpointInfo]:
    """The network of a weight file, in eval mode, and what the file says of itself.

    Takes what read_weights takes; architecture and number of classes are read from the tensors.
    Raises UserError for anything else, and for saliency weights.
    """
    state, info = read_weights(path)
    with torch.device("meta"):  # takes no random numbers
        network = build_network(_architecture(state, path), len(state["outconv.bias"]))
    check_keys(state, network, path)
    network.float().to_empty(device="cpu")  # whatever PyTorch's defaults are
    network.load_state_dict(state)
    return network.eval(), info


def read_info(path: str | Path) -> CheckpointInfo:
    """What a weight file says of itself, without reading the weights where the format allows that. Raises UserError."""
    state, info = read_weights(path, mmap=True)
    _architecture(state, path)
    return info


def read_weights(path: str | Path, mmap: bool = False) -> tuple[StateDict, CheckpointInfo]:
    """State dict with published keys and finite float32 weights, and description, from any supported file.

    Takes .pth files of this and other projects (a state dict, also with wrappers' prefixes or among other things),
    safetensors, ONNX exports, and names of published weights. mmap: leave the weights on disk, as they are there,
    until they are used. Raises UserError.
    """
    path = local_weights(path)
    state, description = read_weight_file(path, mmap)
    info = CheckpointInfo.of(description, path)
    for key, tensor in state.items():
        _check_tensor(key, tensor, path, values=not mmap)
    head = state.get("outconv.bias")
    classes = len(head) if head is not None and head.ndim == 1 else 0
    if classes > MAX_CLASSES + 1:
        raise UserError(f"{path} has {classes} classes; label maps have room for {MAX_CLASSES + 1}")
    if info.class_names is None or len(info.class_names) != classes:
        info = replace(info, class_names=CLOTHES.names if classes == 4 else tuple(map(str, range(classes))))
    if not mmap:
        state = {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    for norm in [key.removesuffix("running_mean") for key in state if key.endswith(".running_mean")]:
        state.setdefault(f"{norm}num_batches_tracked", torch.tensor(0))  # files of PyTorch 0.4 have none
    return state, info


def _check_tensor(key: str, tensor: Tensor, path: Path, values: bool) -> None:
    """Raise UserError for what is not a plain tensor of finite numbers. values: whether to look at the numbers."""
    plain = tensor.layout == torch.strided and not (tensor.is_quantized or tensor.is_meta)
    plain = plain and tensor.nbytes <= tensor.untyped_storage().nbytes()  # few numbers can be made to look like many
    if not plain or not (tensor.is_floating_point() or key.endswith("num_batches_tracked")):
        raise UserError(f"{path}: {key} is quantised or not a plain tensor; give the weights that it was made from")
    if tensor.nbytes > MAX_BYTES:  # of a file of a few bytes, too: PyTorch's first format only states sizes
        raise UserError(f"{path}: {key} has over {MAX_BYTES / 1e9:g} GB; it is no tensor of U2NET")
    if values and not bool(tensor.isfinite().all()):
        raise UserError(f"{path}: {key} has values that are not finite; the weights are broken, take an earlier file")


def _architecture(state: StateDict, path: str | Path) -> str:
    """'u2net' or 'u2netp', told apart by the width of the first block. Raises UserError on others, and on saliency."""
    first, last = state.get("stage1.rebnconv1.conv_s1.weight"), state.get("outconv.bias")
    known = first is not None and first.ndim == 4 and last is not None and last.ndim == 1
    architecture = architecture_of_width(first.shape[0]) if known else None
    if architecture is None:
        raise UserError(f"{path} holds neither U2NET nor U2NETP weights (first keys: {', '.join(list(state)[:3])})")
    if len(last) == 1:
        raise UserError(
            f"{path} holds saliency weights (one output channel), which cannot tell clothes apart; fit them with a "
            f"clothes head (python setup_model_weights.py --model {architecture} --weights {path}), then train that "
            "with train.py"
        )
    return architecture


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


def save_checkpoint(path: Path, network: nn.Module, info: CheckpointInfo) -> None:
    """Write weights and description to a file that is whole or absent."""
    state = {k: v.detach().cpu() for k, v in network.state_dict().items()}
    save_atomically({"state_dict": state, **asdict(info)}, path)
