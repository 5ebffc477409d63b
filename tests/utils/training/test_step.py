"""One step of training: accumulation, steps that are not taken, fp16's scaler, and the bad steps that end a run."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from utils.errors import UserError
from utils.training.state import TrainingState, build_state
from utils.training.step import BadSteps, StepResult, train_step


class OneMap(nn.Sequential):
    """A network whose outputs are a tuple, as U2NET's are."""

    def __init__(self):
        torch.manual_seed(0)
        super().__init__(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (super().forward(images),)


def criterion(outputs: tuple[Tensor], batch: tuple[Tensor, Tensor]) -> tuple[Tensor, list[Tensor]]:
    loss = (outputs[0] * batch[1]).mean()
    return loss, [loss]


def state_of(ema_decay: float = 0.0, scale: float | None = None) -> TrainingState:
    """scale: what fp16's scaler begins with; None: no scaler."""
    state = build_state(OneMap(), "adam", 0.1, 0.0, ema_decay, "fp32")
    if scale:
        state.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1000)
    return state


def step(state: TrainingState, batches: list, clip_grad: float = 0.0, lr: float = 0.1) -> StepResult:
    return train_step(state, state.network, batches, criterion, lr, clip_grad)


def batch(seed: int = 1, label: float = 1.0) -> tuple[Tensor, Tensor]:
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return images, torch.full((2, 1, 1, 1), label)


def different(before: dict[str, Tensor], after: dict[str, Tensor]) -> list[str]:
    return [key for key in before if not torch.equal(before[key], after[key])]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("others", [0, 1])
def test_a_step_with_a_bad_batch_leaves_weights_batch_norm_average_and_optimiser_as_they_were(bad, others):
    before = [batch()] * others
    state = state_of(ema_decay=0.5)
    network, ema = copy.deepcopy(state.network.state_dict()), copy.deepcopy(state.ema.state_dict())
    assert step(state, [*before, batch(label=bad), *before]).bad
    assert different(network, state.network.state_dict()) == different(ema, state.ema.state_dict()) == []
    assert not state.optimizer.state
    assert all(p.grad is None for p in state.network.parameters())

    assert not step(state, [batch()]).bad  # and the next is taken as if the bad one had never been
    assert len(different(network, state.network.state_dict())) == len(network)
    fresh = state_of(ema_decay=0.5)
    step(fresh, [batch()])
    assert different(fresh.network.state_dict(), state.network.state_dict()) == []


def test_accumulated_batches_give_the_mean_gradient():
    whole, parts = state_of(), state_of()
    (a, label), (b, _) = batch(1), batch(2)
    for state, batches in ((whole, [(torch.cat((a, b)), label.repeat(2, 1, 1, 1))]), (parts, [batch(1), batch(2)])):
        state.network.eval()  # batch norm would see other batches
        step(state, batches)
    for x, y in zip(whole.network.parameters(), parts.network.parameters(), strict=True):
        assert torch.allclose(x, y, atol=1e-6)


@pytest.mark.parametrize("scale", [None, 2.0**16])
def test_the_gradient_norm_is_clipped_after_it_is_unscaled_and_the_learning_rate_set(scale):
    state = state_of(scale=scale)
    state.optimizer = torch.optim.SGD(state.network.parameters(), 1.0)
    before = parameters_to_vector(state.network.parameters()).detach()
    step(state, [batch(label=100.0)], clip_grad=0.5, lr=0.1)
    moved = parameters_to_vector(state.network.parameters()) - before
    assert moved.norm().item() == pytest.approx(0.1 * 0.5, rel=1e-3)


def test_an_overflow_skips_the_step_and_halves_the_scale_but_is_not_a_bad_step():
    state = state_of(scale=2.0**127)
    before = copy.deepcopy(state.network.state_dict())
    assert not step(state, [batch(label=1e6)]).bad
    assert different(before, state.network.state_dict()) == []
    assert state.scaler.get_scale() == 2.0**126


def test_a_loss_that_is_never_finite_is_bad_once_the_scale_cannot_be_the_reason():
    state = state_of(scale=4.0)
    assert [step(state, [batch(label=float("nan"))]).bad for _ in range(4)] == [False, False, True, True]


def test_so_many_bad_steps_in_a_row_end_the_run():
    bad_steps = BadSteps(limit=3)
    for bad in (True, True, False, True, True):
        bad_steps.count(bad, 1, "results/x")
    assert (bad_steps.total, bad_steps.in_a_row) == (4, 2)
    with pytest.raises(UserError, match="3 non-finite steps in a row at iteration 7; lower --lr .*results/x"):
        bad_steps.count(True, 7, "results/x")
