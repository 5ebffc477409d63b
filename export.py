"""Make a checkpoint small enough to hand out: python export.py --checkpoint_path A --output B (see --help)."""

from pathlib import Path

import torch
from torch import nn

from networks.checkpoint import CheckpointInfo, load_network, save_checkpoint
from options.export_options import ExportOptions
from utils.errors import UserError, run_program

HALF_MAX = torch.finfo(torch.float16).max


def main() -> None:
    options = ExportOptions.parse()
    target = Path(options.output)
    if target.exists():
        raise UserError(f"{target} exists; remove it first, or choose another --output")
    network, info = averaged([options.checkpoint_path, *(options.average_with or ())])
    size = options.fine_height or info.height, options.fine_width or info.width
    if size != (info.height, info.width):
        (info.height, info.width), info.metrics = size, None  # they were another size's
    floating = {key: tensor for key, tensor in network.state_dict().items() if tensor.is_floating_point()}
    large = [key for key, tensor in floating.items() if bool((tensor.abs() > HALF_MAX).any())]
    if large:
        raise UserError(f"{large[0]} has values that half precision cannot hold (over {HALF_MAX:g})")
    save_checkpoint(target, network, info, half=True)

    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before, after = (n(image)[0] for n in (network, load_network(target)[0]))
    moved = (before.argmax(1) != after.argmax(1)).float().mean().item()
    print(
        f"wrote {target} ({target.stat().st_size / 1e6:.1f} MB), to predict at {size[1]}x{size[0]}; "
        f"on noise, half precision moves {100 * moved:.2f} % of the labels"
    )


def averaged(paths: list[str]) -> tuple[nn.Module, CheckpointInfo]:
    """A network with the mean of several checkpoints' weights, in eval mode, and the first one's description.

    Checkpoints of one training, or of trainings that started from one another, average to a network that is often
    better than each: the uniform soup of Wortsman et al. 2022 (arXiv:2203.05482). Raises UserError where they are
    no versions of one network.
    """
    network, info = load_network(paths[0])
    mean = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    for count, path in enumerate(paths[1:], 2):
        other, told = load_network(path)
        for what in ("class_names", "mean", "std"):
            if getattr(told, what) != getattr(info, what):
                raise UserError(f"{path} has another {what} than {paths[0]}; such checkpoints cannot be averaged")
        if type(other) is not type(network):
            raise UserError(f"{path} is another network than {paths[0]}; such checkpoints cannot be averaged")
        for key, tensor in other.state_dict().items():
            if tensor.is_floating_point():
                mean[key] += (tensor - mean[key]) / count
        info.metrics = None  # they were the first one's
    network.load_state_dict(mean)
    return network, info


if __name__ == "__main__":
    run_program(main)
