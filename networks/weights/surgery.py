"""Start a network from the weights of another one."""

from collections.abc import Callable, Iterable
from pathlib import Path

from torch import Tensor, nn

from networks.folding import is_folded, restore_statistics
from networks.weights.checkpoint import check_keys, read_weights
from utils.errors import UserError


def initialise(network: nn.Module, path: str | Path) -> tuple[int, int]:
    """Copy every tensor of a weight file that fits into ``network``: (copied, left as they were).

    The head differs with the number of classes, so its 14 tensors may stay as they were initialised.
    Raises UserError when anything else does not fit.
    """
    state, _ = read_weights(path)
    target = network.state_dict()
    head = {k for k in target if k.startswith(("side", "outconv")) and k in state and state[k].shape != target[k].shape}
    check_keys(state, network, path, may_differ=head)
    fitting = {key: tensor for key, tensor in state.items() if key not in head}
    network.load_state_dict(fitting, strict=False)
    return len(fitting), len(head)


def check_start(path: str) -> None:
    """Raise UserError where there are no weights to start training from."""
    if not Path(path).is_file():
        raise UserError(
            f"there are no weights to start from at {path}; run python setup_model_weights.py "
            "(with the same --model), set --unet_checkpoint, or start from scratch with --no-continue_train"
        )


def start_from(network: nn.Module, path: str, images: Iterable[Tensor], log: Callable[[str], None]) -> None:
    """Copy the weights to start training from, and give folded ones their batch norm back.

    images: normalised, 3 x h x w each; used for folded weights alone. Raises UserError.
    """
    check_start(path)
    copied, left = initialise(network, path)
    log(f"{path}: {copied} tensors copied, {left} of the head left as initialised")
    if is_folded(network):
        count = restore_statistics(network, (image[None] for image in images))
        log(f"its batch norm was folded: took statistics from {count} photographs")
