"""What a resumed run must find as the interrupted one left it."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from networks.checkpoint import load_safely, save_atomically
from utils.errors import UserError


@dataclass
class TrainingState:
    """Weights, optimiser and position of a training run.

    samples_seen: photographs used so far on all ranks together, which is the samplers' position.
    best_miou: of the validations so far.
    """

    network: nn.Module
    ema: AveragedModel | None
    optimizer: Optimizer
    iteration: int = 0
    samples_seen: int = 0
    best_miou: float = -1.0

    @property
    def weights(self) -> nn.Module:
        """The network to validate and to ship: the moving average where there is one."""
        return self.ema.module if self.ema else self.network

    def save(self, path: Path) -> None:
        save_atomically(
            {
                "network": self.network.state_dict(),
                "ema": self.ema.state_dict() if self.ema else None,
                "optimizer": self.optimizer.state_dict(),
                "iteration": self.iteration,
                "samples_seen": self.samples_seen,
                "best_miou": self.best_miou,
                "random_state": torch.get_rng_state(),
            },
            path,
        )

    def load(self, path: Path) -> None:
        """Take over what ``save`` wrote. Raises UserError when it is unreadable or of another kind of run."""
        saved = load_safely(path)
        try:
            self.network.load_state_dict(saved["network"])
            if (self.ema is None) != (saved["ema"] is None):
                raise ValueError("one run has a moving average, the other has none")
            if self.ema:
                self.ema.load_state_dict(saved["ema"])
            self.optimizer.load_state_dict(saved["optimizer"])
            torch.set_rng_state(saved["random_state"])
            self.iteration, self.samples_seen = saved["iteration"], saved["samples_seen"]
            self.best_miou = saved["best_miou"]
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError):
            raise UserError(
                f"{path} does not fit these options; resume with the --model, --class_map, --optimizer "
                f"and --ema_decay that stand in {path.with_name('training_options.yml')}"
            ) from None
