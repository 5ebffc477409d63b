"""One step of training, and what happens to a bad one."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from utils.devices import autocast
from utils.errors import UserError
from utils.process_group import world_size
from utils.training.state import TrainingState

Criterion = Callable[[Sequence[Tensor], tuple], tuple[Tensor, list[Tensor]]]  # (outputs, batch) -> (total, its parts)


@dataclass
class StepResult:
    """loss, losses: total and parts for the last batch. fused: its first output, N x C x h x w.

    lr: learning rate of the step. bad: whether the step was left out because it was not finite. One that overflowed in
    fp16 alone is not bad.
    """

    loss: Tensor
    losses: list[Tensor]
    fused: Tensor
    lr: float
    bad: bool


def train_step(
    state: TrainingState, forward: nn.Module, batches: list[tuple], criterion: Criterion, lr: float, clip_grad: float
) -> StepResult:
    """One step with the mean gradient of ``batches``, tuples that begin with the images; none where it is not finite.

    forward: the state's network, or what wraps it. clip_grad: largest gradient norm, 0 for no limit.
    """
    state.between_steps = False
    state.buffers.save()
    for part, batch in enumerate(batches, 1):
        more_to_come = part < len(batches) and world_size() > 1
        with forward.no_sync() if more_to_come else nullcontext():
            with autocast(batch[0].device, state.precision):
                outputs = forward(batch[0])
            loss, losses = criterion(outputs, batch)
            state.scaler.scale(loss / len(batches)).backward()
    state.scaler.unscale_(state.optimizer)
    norm = nn.utils.clip_grad_norm_(state.network.parameters(), clip_grad or math.inf)
    # Gradients are averaged over the ranks by now, and all ranks come to the same verdict.
    finite = bool(torch.isfinite(norm))
    # With fp16 the scaler begins with a scale that overflows, and halves it until it fits.
    overflow = not finite and state.scaler.is_enabled() and state.scaler.get_scale() > 1
    if finite:
        for group in state.optimizer.param_groups:
            group["lr"] = lr
        state.scaler.step(state.optimizer)
        if state.ema:
            state.ema.update_parameters(state.network)
    else:
        state.buffers.restore()  # the bad batch has gone into the batch norms' statistics
    state.scaler.update()
    state.optimizer.zero_grad(set_to_none=True)
    bad = not finite and not overflow
    return StepResult(loss.detach(), [part.detach() for part in losses], outputs[0].detach(), lr, bad)


@dataclass
class BadSteps:
    """Counts bad steps; ``limit`` of them in a row end the run."""

    limit: int
    total: int = 0
    in_a_row: int = 0

    def count(self, bad: bool, iteration: int, run_dir: object) -> None:
        """Raises UserError at the limit."""
        self.total += bad
        self.in_a_row = self.in_a_row + 1 if bad else 0
        if self.in_a_row >= self.limit:
            raise UserError(
                f"{self.in_a_row} non-finite steps in a row at iteration {iteration}; lower --lr "
                f"(the last state saved in {run_dir} can be resumed)"
            )
