"""Trace the network into a TorchScript file: python deploy/convert_to_torchscript.py (see --help).

The published form of deployment. PyTorch has deprecated TorchScript, and the archive takes the plain checkpoint.
"""

import sys
import warnings
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from networks.checkpoint import load_network  # noqa: E402
from options.deploy_options import TorchScriptOptions  # noqa: E402
from utils.errors import run_program  # noqa: E402
from utils.files import write_atomically  # noqa: E402


def main() -> None:
    options = TorchScriptOptions.parse()
    network, info = load_network(options.checkpoint_path)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # said above
        traced = torch.jit.trace(network, torch.zeros(1, 3, info.height, info.width))
    target = Path(options.output)
    write_atomically(target, lambda file: torch.jit.save(traced, file))
    print(f"wrote {target}: N x 3 x H x W in, normalised with mean {info.mean:g} and std {info.std:g}; logits out")


if __name__ == "__main__":
    run_program(main)
