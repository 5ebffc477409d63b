"""Make a checkpoint small enough to hand out: python export.py --checkpoint_path A --output B (see --help)."""

from pathlib import Path

import torch

from networks.checkpoint import load_network, save_checkpoint
from options.export_options import ExportOptions
from utils.errors import UserError, run_program

HALF_MAX = torch.finfo(torch.float16).max


def main() -> None:
    options = ExportOptions.parse()
    target = Path(options.output)
    if target.exists():
        raise UserError(f"{target} exists; remove it first, or choose another --output")
    network, info = load_network(options.checkpoint_path)
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


if __name__ == "__main__":
    run_program(main)
