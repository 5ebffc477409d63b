"""The state of a run: saved, loaded, and told apart from another run's."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from utils.errors import UserError
from utils.training.state import TrainingState, build_state, moving_average


def trained(ema_decay: float = 0.9, precision: str = "fp32", steps: int = 2) -> TrainingState:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    state = build_state(network, "adamw", 0.1, 0.01, ema_decay, precision)
    for _ in range(steps):
        advance(state)
    return state


def advance(state: TrainingState) -> None:
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(state.iteration))
    state.scaler.scale(state.network(x).square().mean()).backward()
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.optimizer.zero_grad()
    if state.ema:
        state.ema.update_parameters(state.network)
    state.advance(8)


def tensors(state: TrainingState) -> list[torch.Tensor]:
    moments = [t for values in state.optimizer.state.values() for t in values.values()]
    return [*state.network.state_dict().values(), *(state.ema.state_dict().values() if state.ema else ()), *moments]


def change_saved(folder: Path, change: Callable[[dict], object]) -> None:
    saved = torch.load(folder / "latest.pth", weights_only=True)
    change(saved)
    torch.save(saved, folder / "latest.pth")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_loaded_state_goes_on_exactly_as_the_saved_one(ema_decay, precision, tmp_path):
    state = trained(ema_decay, precision=precision)
    state.best_miou, state.best_on, state.validated = 0.5, {"street": 3}, 1
    state.save(tmp_path / "latest.pth")
    loaded = trained(ema_decay, precision=precision, steps=0)
    loaded.load(tmp_path / "latest.pth")
    assert (loaded.iteration, loaded.samples_seen, loaded.best_miou, loaded.validated) == (2, 16, 0.5, 1)
    assert loaded.best_on == {"street": 3}
    for x in (state, loaded):
        advance(x)
    assert len(tensors(state)) == len(tensors(loaded)) and all(map(torch.equal, tensors(state), tensors(loaded)))
    assert state.scaler.state_dict() == loaded.scaler.state_dict()


def test_states_of_earlier_versions_are_loaded(tmp_path):
    """Theirs have a random_state, which nothing needs, and lack scaler, classes, validated and best_on."""
    state, loaded = trained(), trained(steps=0)
    state.save(tmp_path / "latest.pth")
    change_saved(tmp_path, lambda old: old.update(random_state=torch.get_rng_state()))
    change_saved(tmp_path, lambda old: [old.pop(name) for name in ("scaler", "classes", "validated", "best_on")])
    loaded.classes = [["background"], ["upper", 0]]
    loaded.load(tmp_path / "latest.pth")
    assert all(map(torch.equal, tensors(state), tensors(loaded))) and loaded.validated == loaded.iteration


@pytest.mark.parametrize(
    "change",
    [
        lambda saved: saved.pop("ema"), lambda saved: saved.update(ema=None), lambda saved: saved.update(network=[1]),
        lambda saved: saved["network"].pop("0.weight"), lambda saved: saved["optimizer"]["param_groups"].clear(),
    ],
)  # fmt: skip
def test_a_state_of_another_kind_of_run_is_one_line(change, tmp_path):
    trained().save(tmp_path / "latest.pth")
    change_saved(tmp_path, change)
    with pytest.raises(UserError, match="does not fit the options in .*training_options.yml") as caught:
        trained(steps=0).load(tmp_path / "latest.pth")
    assert "\n" not in str(caught.value)


def test_a_run_keeps_its_classes(tmp_path):
    state, swapped = trained(steps=0), trained(steps=0)
    state.classes, swapped.classes = ([["background"], [a, 1], [b, 2]] for a, b in ("xy", "yx"))
    state.save(tmp_path / "latest.pth")
    with pytest.raises(UserError, match=r"the class map is not the one that .*latest.pth was trained with; restore it"):
        swapped.load(tmp_path / "latest.pth")


def test_a_broken_state_says_where_intact_weights_are(tmp_path):
    (tmp_path / "latest.pth").write_bytes(b"")
    with pytest.raises(UserError, match=r"latest.pth .*; begin another run .* from .*checkpoints"):
        trained(steps=0).load(tmp_path / "latest.pth")


def test_moving_average_grows_slow_and_copies_counters():
    """Decays are (1 + count) / (10 + count); AveragedModel copies the first weights."""
    network = nn.BatchNorm1d(1)
    ema = moving_average(network, 0.9)

    def update(value: float) -> float:
        nn.init.constant_(network.weight, value)
        network.num_batches_tracked += 1
        ema.update_parameters(network)
        return ema.module.weight.item()

    assert [update(1.0), update(0.0), update(0.0)] == pytest.approx([1, 2 / 11, 2 / 11 * 3 / 12])
    ema.n_averaged.fill_(1000)
    before = update(1.0)
    assert update(0.0) == pytest.approx(0.9 * before)
    assert ema.module.num_batches_tracked == network.num_batches_tracked == 5
