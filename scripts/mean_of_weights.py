"""The mean of weight files: python scripts/mean_of_weights.py --weights A.pth B.pth --output C.pth (see --help).

Networks that were trained on from the same weights often lie so near to each other that the mean of their weights
predicts well (Wortsman et al., "Model soups", ICML 2022), and is a good start for further training.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from options.base_options import WEIGHT_FILES, BaseOptions, option, refuse_existing
from utils.errors import UserError


@dataclass
class MeanOptions(BaseOptions):
    """Write the mean of several weight files of one network."""

    weights: list[str] = option(help=f"weight files: {WEIGHT_FILES}")
    shares: list[float] | None = option(None, "share of each, in any unit; default: all the same", at_least=0)
    output: str = option(help="file to write (.pth)")

    def resolve(self) -> "MeanOptions":
        super().resolve()
        self.shares = self.shares or [1.0] * len(self.weights)
        if len(self.shares) != len(self.weights) or not sum(self.shares):
            raise UserError(f"--shares needs {len(self.weights)} numbers, one for each file, not all zero")
        if Path(self.output).suffix != ".pth":
            raise UserError(f"--output {self.output} must end in .pth")
        refuse_existing(self.output)
        return self


if __name__ == "__main__":
    options = MeanOptions.from_command_line()  # before the imports that take seconds

from dataclasses import replace

from networks.folding import is_folded
from networks.weights.checkpoint import check_keys, load_network, save_checkpoint
from utils.errors import run_program


def main(options: MeanOptions) -> None:
    network, info = load_network(options.weights[0])
    shares = [share / sum(options.shares) for share in options.shares]
    mean = {key: shares[0] * tensor for key, tensor in network.state_dict().items()}
    for path, share in zip(options.weights[1:], shares[1:], strict=True):
        other, its = load_network(path)
        its.check_like(info, path)
        check_keys(other.state_dict(), network, path)
        if is_folded(other) != is_folded(network):
            raise UserError(f"of {options.weights[0]} and {path}, one has its batch norm folded, as ONNX files do")
        for key, tensor in other.state_dict().items():
            mean[key] += share * tensor
    network.load_state_dict(mean)
    save_checkpoint(Path(options.output), network, replace(info, iteration=0, metrics=None))
    parts = (f"{share:.2f} x {path}" for share, path in zip(shares, options.weights, strict=True))
    print(f"wrote {options.output}: {' + '.join(parts)}")


if __name__ == "__main__":
    run_program(main, options)
