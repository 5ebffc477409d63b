"""The state of a training run, saved for resuming."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from utils.errors import UserError
from utils.serialization import load_safely, save_atomically

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@dataclass
class TrainingState:
    """Weights, optimiser and position of a training run.

    scaler: of the loss in fp16, otherwise disabled. precision: of the forward pass. samples_seen: photographs used so
    far on all ranks together, which is the samplers' position. best_miou: the best of the validations so far.
    best_on: the sets of that one, name -> photos. validated: the iteration of the last one that came to its end.
    classes: name and categories of each, which a run keeps. description: what a weight file says of itself.
    between_steps: False from the start of a step until it is counted: then the parts are not all of one iteration.
    """

    network: nn.Module
    ema: AveragedModel | None
    optimizer: Optimizer
    scaler: torch.amp.GradScaler
    precision: str
    iteration: int = 0
    samples_seen: int = 0
    best_miou: float = -1.0
    best_on: dict[str, int] | None = None
    validated: int = 0
    classes: list[list[int | str]] = field(default_factory=list)
    description: dict = field(default_factory=dict)
    between_steps: bool = True

    def __post_init__(self):
        self.buffers = BufferBackup(self.network)

    @property
    def weights(self) -> nn.Module:
        """The network to validate and to keep: the moving average where there is one."""
        return self.ema.module if self.ema else self.network

    def advance(self, samples: int) -> None:
        """Count a step that used ``samples`` photographs on all ranks together."""
        self.iteration += 1
        self.samples_seen += samples
        self.between_steps = True

    def due(self, every: int) -> bool:
        """Whether it is time for what is done every ``every`` iterations."""
        return self.iteration % every == 0

    def save(self, path: Path) -> None:
        save_atomically(
            {
                **self.description,
                "network": self.network.state_dict(),
                "ema": self.ema.state_dict() if self.ema else None,
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "iteration": self.iteration,
                "samples_seen": self.samples_seen,
                "best_miou": self.best_miou,
                "best_on": self.best_on,
                "validated": self.validated,
                "classes": self.classes,
            },
            path,
        )

    def load(self, path: Path) -> None:
        """Take over what ``save`` wrote. Raises UserError when it is unreadable or of another kind of run."""
        instead = f"begin another run (--name) with --unet_checkpoint from {path.parent / 'checkpoints'}"
        try:
            saved = load_safely(path)
        except UserError as error:
            raise UserError(f"{error}; {instead}") from None
        try:
            if saved.get("classes", self.classes) != self.classes:  # earlier versions did not note them
                raise UserError(f"the class map is not the one that {path} was trained with; restore it, or {instead}")
            self.network.load_state_dict(saved["network"])
            if (self.ema is None) != (saved["ema"] is None):
                raise ValueError("one run has a moving average, the other has none")
            if self.ema:
                self.ema.load_state_dict(saved["ema"])
            self.optimizer.load_state_dict(saved["optimizer"])
            if self.scaler.is_enabled():
                self.scaler.load_state_dict(saved["scaler"])
            self.iteration, self.samples_seen = saved["iteration"], saved["samples_seen"]
            self.best_miou = saved["best_miou"]
            self.best_on = saved.get("best_on")  # earlier versions did not note it, nor the next
            self.validated = saved.get("validated", self.iteration)
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError):
            raise UserError(
                f"{path} does not fit the options in {path.with_name('training_options.yml')}; "
                "was one of the two files replaced?"
            ) from None


class BufferBackup:
    """A copy of a network's buffers (the batch norms' statistics), to go back to after a step that went wrong."""

    def __init__(self, network: nn.Module):
        buffers = list(network.buffers())
        # One list for each dtype: torch copies a list of one dtype in a few calls.
        groups = [[b for b in buffers if b.dtype == dtype] for dtype in {b.dtype for b in buffers}]
        self._groups = [(group, [torch.empty_like(b) for b in group]) for group in groups]

    @torch.no_grad()
    def save(self) -> None:
        for buffers, copies in self._groups:
            torch._foreach_copy_(copies, buffers)

    @torch.no_grad()
    def restore(self) -> None:
        for buffers, copies in self._groups:
            torch._foreach_copy_(buffers, copies)


def build_state(
    network: nn.Module, optimizer: str, lr: float, weight_decay: float, ema_decay: float, precision: str
) -> TrainingState:
    """The state before the first step.

    network: on its device already. optimizer: a key of OPTIMIZERS. ema_decay: 0 for no moving average.
    """
    ema = moving_average(network, ema_decay) if ema_decay else None
    scaler = torch.amp.GradScaler(next(network.parameters()).device.type, enabled=precision == "fp16")
    # foreach: PyTorch's default on GPUs, and on the CPU twice as fast as its default there, with the same result.
    made = OPTIMIZERS[optimizer](network.parameters(), lr, weight_decay=weight_decay, foreach=True)
    return TrainingState(network, ema, made, scaler, precision)


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """Average of the weights over the steps: averaged = d * averaged + (1 - d) * current, buffers included.

    d grows to ``decay`` as (1 + n) / (10 + n), and a short run forgets its start.
    """

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        # AveragedModel hands over one list for each dtype.
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + int(count)) / (10 + int(count))))
        else:  # the batch norms' counters
            torch._foreach_copy_(averaged, current)

    return AveragedModel(network, multi_avg_fn=update, use_buffers=True)
