"""Start a network from the weights of another one."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from networks.folding import is_folded, restore_statistics
from networks.weights.checkpoint import check_keys, read_weights
from networks.weights.published import PUBLISHED
from utils.errors import UserError

SIDES = 6  # maps that the last convolution takes, each with a channel for every class


class Start(NamedTuple):
    """What a network took from a file: tensors copied whole, tensors of the head, classes copied within these."""

    copied: int
    head: int
    classes: tuple[str, ...]


def initialise(network: nn.Module, path: str | Path, class_names: tuple[str, ...] | None = None) -> Start:
    """Copy the weights of a file into ``network``. Raises UserError where anything but the head does not fit.

    class_names: of the network. Where they are not those of the file, the 14 tensors of the head are copied class by
    class, by name, and the other classes stay as they were initialised. None: the head is copied if its shapes fit.
    """
    state, info = read_weights(path)
    target = network.state_dict()
    same = class_names in (None, info.class_names)
    head = {
        key
        for key in target
        if key.startswith(("side", "outconv")) and key in state and not (same and state[key].shape == target[key].shape)
    }
    check_keys(state, network, path, may_differ=head)
    network.load_state_dict({key: tensor for key, tensor in state.items() if key not in head}, strict=False)
    classes = tuple(name for name in class_names or () if head and name in info.class_names)
    if classes:
        rows = [[names.index(name) for name in classes] for names in (class_names, info.class_names)]
        for key in head:
            _copy_classes(key, target[key], state[key], *rows, path)
    return Start(len(state) - len(head), len(head), classes)


@torch.no_grad()
def _copy_classes(key: str, target: Tensor, source: Tensor, new: list[int], old: list[int], path: str | Path) -> None:
    """Copy the rows ``old`` of a tensor of the head to the rows ``new``. Raises UserError where it does not fit."""
    fused = key == "outconv.weight"
    width = (SIDES * len(source), 1, 1) if fused else target.shape[1:]
    if source.shape != (len(source), *width):
        raise UserError(f"{path} does not fit the network: {key} has the shape {tuple(source.shape)}")
    if not fused:
        target[new] = source[old]
        return
    target[new] = 0  # of the maps of new classes: they do not change the logits of those that are copied
    for side in range(SIDES):
        columns = [[side * len(tensor) + i for i in rows] for tensor, rows in ((target, new), (source, old))]
        target[torch.tensor(new)[:, None], columns[0]] = source[torch.tensor(old)[:, None], columns[1]]


def check_start(path: str) -> None:
    """Raise UserError where there are no weights to start training from."""
    if not Path(path).is_file() and path not in PUBLISHED:
        raise UserError(
            f"there are no weights to start from at {path}; run python setup_model_weights.py "
            "(with the same --model), set --unet_checkpoint, or start from scratch with --no-continue_train"
        )


def start_from(
    network: nn.Module, class_names: tuple[str, ...], path: str, images: Iterable[Tensor], log: Callable[[str], None]
) -> None:
    """Copy the weights to start training from, and give folded ones their batch norm back.

    class_names: of the network. images: normalised, 3 x h x w each; used for folded weights alone. Raises UserError.
    """
    start = initialise(network, path, class_names)
    if start.classes:
        fresh = [name for name in class_names if name not in start.classes]
        head = f"head copied for {', '.join(start.classes)}, initialised for {', '.join(fresh) or 'no other class'}"
    else:
        head = f"{start.head} of the head left as initialised"
    log(f"{path}: {start.copied} tensors copied, {head}")
    if is_folded(network):
        count = restore_statistics(network, (image[None] for image in images))
        log(f"its batch norm was folded: took statistics from {count} photographs")
