"""train.py: what a run writes, how it is resumed, and how it ends when something fails.

Runs in this process where that shows the same; in processes of their own where signals, workers or ranks matter.
"""

import contextlib
import io
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import train
from data.training.datasets import TrainingPhotos
from networks.weights.checkpoint import load_network, read_info
from options.train_options import TrainOptions

from tests.helpers import (  # isort: skip
    SMALL, DataSet, end, events_of, flags_of, make_paper_dolls, small_disk, start_script, state_of, training_flags,
    wait_for,
)  # fmt: skip
from utils.errors import UserError

RESUMED = {
    **SMALL, "augment": "full", "ema_decay": 0.9, "schedule": "cosine", "warmup_iter": 3, "optimizer": "adamw",
    "smaller_first": ["0.5:0.75"], "fine_width": 64,  # it grows after the interruption
}  # fmt: skip


def run_training(data: DataSet, save_dir: Path, **changes) -> tuple[int, str]:
    """Train in this process: (exit code, what is printed)."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = train.main(TrainOptions.parse(training_flags(data, save_dir, **changes)))
    return code, out.getvalue()


def resume(save_dir: Path, **changes) -> tuple[int, str]:
    """Resume a run in this process, with the options of its record."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = train.main(TrainOptions.parse(flags_of({"resume": True, "save_dir": save_dir, **changes})))
    return code, out.getvalue()


def assert_equal_states(a: Path, b: Path) -> None:
    """Weights, average, optimiser and position of two runs are the same."""
    x, y = state_of(a), state_of(b)
    assert (x["iteration"], x["samples_seen"]) == (y["iteration"], y["samples_seen"])
    assert [k for k in x["network"] if not torch.equal(x["network"][k], y["network"][k])] == []
    assert [k for k in x["ema"] or () if not torch.equal(x["ema"][k], y["ema"][k])] == []
    for m, n in zip(x["optimizer"]["state"].values(), y["optimizer"]["state"].values(), strict=True):
        assert all(torch.equal(m[k], n[k]) for k in ("exp_avg", "exp_avg_sq"))


# What a run writes


@pytest.fixture(scope="module")
def run(dolls, tmp_path_factory):
    """One training with validation, inspected by the tests below: (folder, what it printed, its events)."""
    save_dir = tmp_path_factory.mktemp("train") / "run"
    code, out = run_training(
        dolls, save_dir, **SMALL, batchSize=4, iter=20, lr=0.003, val_image_folder=dolls.image_folder,
        val_df_path=dolls.df_path, val_freq=10, save_freq=15, nThreads=1,
    )  # fmt: skip
    assert code == 0
    return save_dir, out, events_of(save_dir / "logs")


def test_the_loss_falls_and_tensorboard_reads_every_scalar_and_the_picture_grid(run):
    _, _, events = run
    losses = [event.value for event in events.Scalars("total_loss")]
    assert len(losses) == 10
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:2])
    assert {"lr", "images_per_second", "val/miou", "val/iou_full"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("val/miou")] == [10, 20]
    parts = [events.Scalars(f"loss{i}")[0].value for i in range(7)]
    assert events.Scalars("total_loss")[0].value == pytest.approx(1.5 * parts[0] + sum(parts[1:]), rel=1e-4)
    picture = events.Images("photo_label_prediction")[0]
    assert (picture.step, picture.width, picture.height) == (3, 3 * 32, 4 * 32)


def test_options_network_and_checkpoints_that_describe_themselves_are_written(run, dolls):
    save_dir, out, _ = run
    assert yaml.safe_load((save_dir / "training_options.yml").read_text())["fine_width"] == 32
    assert "rebnconvin" in (save_dir / "networks.txt").read_text()
    names = sorted(path.name for path in (save_dir / "checkpoints").iterdir())
    assert names == ["best.pth", "itr_00000015_u2netp.pth", "itr_00000020_u2netp.pth"]
    assert "device: cpu" in out and "iteration 20: iou_background" in out
    _, info = load_network(save_dir / "checkpoints/best.pth")
    assert (info.class_names, info.height, info.width) == (("background", "upper", "lower", "full"), 32, 32)
    assert info.iteration in (10, 20) and 0 < info.metrics["miou"] <= 1


def test_a_class_map_drives_head_loss_and_names_and_checkpoint_and_state_tell_of_it(dolls, tmp_path):
    (tmp_path / "map.yml").write_text("shoes: [23]\ntops: [1]\n")
    assert run_training(dolls, tmp_path / "run", **SMALL, iter=1, class_map=tmp_path / "map.yml")[0] == 0
    network, info = load_network(tmp_path / "run" / "checkpoints" / "itr_00000001_u2netp.pth")
    assert info.class_names == ("background", "shoes", "tops")
    assert network.outconv.out_channels == 3
    assert read_info(tmp_path / "run/latest.pth") == info


def test_training_starts_from_the_published_onnx_on_real_photographs(ccp_train, saliency_onnx, tmp_path):
    code, out = run_training(
        ccp_train, tmp_path / "run", **SMALL, iter=2, max_dataset_size=8, continue_train=True,
        unet_checkpoint=saliency_onnx, channels_last=True, augment="full",
    )  # fmt: skip
    assert code == 0
    assert "784 tensors copied, 14 of the head" in out
    assert "took statistics from 8 photographs" in out


# Interrupted and resumed


@pytest.fixture(scope="module")
def straight(dolls, tmp_path_factory) -> Path:
    """A run of 20 iterations, 10 of them small, that nothing interrupted."""
    save_dir = tmp_path_factory.mktemp("straight") / "run"
    assert run_training(dolls, save_dir, iter=20, save_freq=10, **RESUMED)[0] == 0
    return save_dir


def train_in_fork(flags: list[str]) -> None:
    """For a forked process: train without a word, and end as a program does."""
    with Path(os.devnull).open("w") as nowhere:
        sys.stdout = sys.stderr = nowhere
        os._exit(train.main(TrainOptions.parse(flags)))


def test_killed_at_10_moments_and_resumed_gives_the_straight_runs_weights(dolls, straight, tmp_path):
    """A state is saved after every iteration, and many of the kills come in the middle of that."""
    save_dir = tmp_path / "run"
    latest = save_dir / "latest.pth"
    first_flags = training_flags(dolls, save_dir, iter=20, save_freq=1, **RESUMED)
    rng, fork, kills, patience = random.Random(0), multiprocessing.get_context("fork"), 0, 0.5
    while kills < 10 or not latest.exists():
        before = latest.stat().st_mtime if latest.exists() else 0
        flags = ["--resume", "--save_dir", str(save_dir)] if before else first_flags
        process = fork.Process(target=train_in_fork, args=(flags,))
        process.start()
        process.join(rng.uniform(0.05, patience))
        assert process.exitcode in (None, 0)
        process.kill()
        process.join()
        kills += 1
        if (latest.stat().st_mtime if latest.exists() else 0) == before:
            patience *= 1.2  # this machine is slower
    assert resume(save_dir)[0] == 0
    assert_equal_states(straight, save_dir)


def test_one_command_begins_a_run_and_goes_on_with_it_after_an_interruption(dolls, tmp_path, monkeypatch):
    step = train.train_step

    def signalled_step(state, *arguments):
        if state.iteration == 4:
            signal.raise_signal(signal.SIGTERM)
        return step(state, *arguments)

    monkeypatch.setattr(train, "train_step", signalled_step)
    command = {**SMALL, "save_freq": 100, "schedule": "poly", "smaller_first": ["0.5:0.5"], "fine_width": 64}
    code, out = run_training(dolls, tmp_path / "run", **command, resume=True, iter=10_000)
    assert code == 128 + signal.SIGTERM
    assert "stopped by SIGTERM at iteration 5; continue with --resume" in out
    assert state_of(tmp_path / "run")["iteration"] == 5

    record = (tmp_path / "run/training_options.yml").read_bytes()
    code, out = run_training(dolls, tmp_path / "run", **command, resume=True, iter=6)
    assert code == 0
    assert "run/latest.pth: resumed at iteration 5" in out
    assert "--iter 6 instead of 10000: from iteration 5 on, learning rate 3.99e-05" in out
    assert (tmp_path / "run/checkpoints/itr_00000006_u2netp.pth").exists()
    assert (tmp_path / "run/training_options.yml").read_bytes() == record
    second = yaml.safe_load((tmp_path / "run/training_options_from_00000005.yml").read_text())
    assert second == yaml.safe_load(record) | {"iter": 6, "resume": True}
    code, out = resume(tmp_path / "run", iter=6)
    assert (code, "is at iteration 6 of 6 already; raise --iter" in out) == (0, True)


def test_a_signal_before_the_first_step_leaves_a_run_that_can_be_resumed(dolls, tmp_path, monkeypatch):
    monkeypatch.setattr(
        train, "kill_workers_at_end", lambda: signal.raise_signal(signal.SIGINT) or contextlib.nullcontext()
    )
    code, out = run_training(dolls, tmp_path / "run", **SMALL, iter=2)
    assert code == 130 and "at iteration 0; continue with --resume" in out
    monkeypatch.undo()
    assert resume(tmp_path / "run")[0] == 0
    assert state_of(tmp_path / "run")["iteration"] == 2


@pytest.mark.parametrize("iterations", [1, 2])
def test_a_validation_that_was_cut_short_is_made_up_for(iterations, dolls, tmp_path, monkeypatch):
    sets = {"val_image_folder": dolls.image_folder, "val_df_path": dolls.df_path}
    with monkeypatch.context() as patch:
        patch.setattr(train, "validate_all", lambda *_: signal.raise_signal(signal.SIGTERM))
        code, out = run_training(dolls, tmp_path / "run", **SMALL, **sets, iter=iterations, val_freq=1)
    assert code == 128 + signal.SIGTERM and "at iteration 1; continue with --resume" in out
    code, out = resume(tmp_path / "run")
    assert code == 0 and all(f"\niteration {number + 1}: iou_background" in out for number in range(iterations))
    assert (tmp_path / "run/checkpoints/best.pth").exists()
    assert f"at iteration {iterations} of {iterations} already" in resume(tmp_path / "run")[1]


def test_the_last_step_is_saved_before_it_is_validated(dolls, tmp_path, monkeypatch):
    sets = {"val_image_folder": dolls.image_folder, "val_df_path": dolls.df_path}
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(train, "validate_all", lambda *_: 1 / 0)
        run_training(dolls, tmp_path / "run", **SMALL, **sets, iter=1, save_freq=5)
    assert list((tmp_path / "run/checkpoints").glob("itr_00000001_*.pth"))
    code, out = resume(tmp_path / "run")
    assert code == 0 and "\niteration 1: iou_background" in out


def test_the_best_weights_are_never_replaced_by_worse_ones_after_a_kill(dolls, tmp_path, monkeypatch):
    figures = iter([0.6, 0.5])
    monkeypatch.setattr(train, "validate_all", lambda *_: {"miou": next(figures)})
    monkeypatch.setattr(train, "save", lambda *_: None)  # as if killed before the next state is saved
    sets = {"val_image_folder": dolls.image_folder, "val_df_path": dolls.df_path}
    run_training(dolls, tmp_path / "run", **SMALL, **sets, iter=1)
    assert load_network(tmp_path / "run/checkpoints/best.pth")[1].metrics["miou"] == 0.6
    assert resume(tmp_path / "run", iter=2)[0] == 0
    assert load_network(tmp_path / "run/checkpoints/best.pth")[1].metrics["miou"] == 0.6
    assert state_of(tmp_path / "run")["validated"] == 2  # and one that found worse ones is not repeated


def test_figures_stand_once_in_the_logs_after_a_kill_while_they_were_saved(dolls, tmp_path, monkeypatch):
    sets = {"val_image_folder": dolls.image_folder, "val_df_path": dolls.df_path}
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(train, "save_checkpoint", lambda path, *_: 1 / (path.name != "best.pth"))
        run_training(dolls, tmp_path / "run", **SMALL, **sets, iter=1)
    time.sleep(1.1)  # files are named by the second
    assert resume(tmp_path / "run")[0] == 0
    assert [event.step for event in events_of(tmp_path / "run/logs").Scalars("val/miou")] == [1]


def test_figures_of_other_validation_photos_are_not_compared(dolls, tmp_path, monkeypatch):
    figures = iter([0.6, 0.5])
    monkeypatch.setattr(train, "validate_all", lambda *_: {"miou": next(figures)})
    sets = {"val_image_folder": dolls.image_folder, "val_df_path": dolls.df_path}
    assert run_training(dolls, tmp_path / "run", **SMALL, **sets, iter=1)[0] == 0
    folder, table = make_paper_dolls(tmp_path / "others", photos=1)
    assert resume(tmp_path / "run", val_image_folder=folder, val_df_path=table, iter=2)[0] == 0
    assert load_network(tmp_path / "run/checkpoints/best.pth")[1].metrics["miou"] == 0.5


def test_a_run_is_alone_in_its_folder_and_ctrl_c_in_a_terminal_reaches_its_workers_and_still_saves(dolls, tmp_path):
    flags = training_flags(dolls, tmp_path / "run", **SMALL, nThreads=2, iter=10**6, save_freq=2)
    process = start_script("train.py", *flags)
    wait_for(tmp_path / "run/latest.pth", process)
    with pytest.raises(UserError, match=f"process {process.pid} on .* is training in .*run; wait for it, or choose"):
        run_training(dolls, tmp_path / "run", **SMALL)
    os.killpg(process.pid, signal.SIGINT)
    out, err = end(process)
    assert process.returncode == 130, err
    assert f"stopped by SIGINT at iteration {state_of(tmp_path / 'run')['iteration']};" in out
    assert "Traceback" not in err


# A run that fails ends: one line where the user can do something, no process left, nothing lost


def test_a_full_disk_ends_the_run_with_a_state_to_resume(dolls, tmp_path):
    with small_disk(tmp_path / "disk", "40m") as disk:  # room for a first state, and soon full of checkpoints
        with pytest.raises(UserError, match="cannot write .*No space left on device"):
            run_training(dolls, disk / "run", **SMALL, iter=50, save_freq=1)
        assert not list((disk / "run").rglob("*.tmp"))
        reached = state_of(disk / "run")["iteration"]
        assert reached > 0
        shutil.copytree(disk / "run", tmp_path / "run")
    assert resume(tmp_path / "run", iter=reached + 1)[0] == 0


def test_an_error_between_steps_costs_none_of_them_and_of_one_within_a_step_no_half_is_saved(
    dolls, tmp_path, monkeypatch
):
    data = DataSet(shutil.copytree(dolls.image_folder, tmp_path / "photos"), dolls.df_path)
    done, clip = count(1), torch.nn.utils.clip_grad_norm_

    def clip_and_do_harm(*arguments):
        if (number := next(done)) == 2:
            shutil.rmtree(data.image_folder)
        return clip(*arguments) if number != 4 else 1 / 0

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clip_and_do_harm)
    with pytest.raises(UserError, match="photos is gone; put it back and --resume"):
        run_training(data, tmp_path / "run", **SMALL, iter=4, save_freq=100)
    assert state_of(tmp_path / "run")["iteration"] == 2
    shutil.copytree(dolls.image_folder, data.image_folder)
    with pytest.raises(ZeroDivisionError):
        resume(tmp_path / "run")
    assert state_of(tmp_path / "run")["iteration"] == 2


def out_of_memory(*_) -> None:
    assert multiprocessing.active_children()
    raise torch.OutOfMemoryError("CUDA out of memory.")


@pytest.mark.parametrize(("fault", "words"), [
    (lambda: print(1 / 0), "ZeroDivisionError in DataLoader worker"),
    (lambda: os.kill(os.getpid(), signal.SIGKILL), "^a loader worker is killed by signal: Killed, .* --nThreads"),
    (None, "out of memory; lower --batchSize .now 2. or --fine_height"),
], ids=["error", "killed", "out of memory in a step"])  # fmt: skip
def test_a_fault_ends_the_run_and_its_workers(fault, words, dolls, tmp_path, monkeypatch):
    get = TrainingPhotos.__getitem__
    if fault:
        monkeypatch.setattr(TrainingPhotos, "__getitem__", lambda photos, draw: fault() or get(photos, draw))
    else:
        monkeypatch.setattr(train, "train_step", out_of_memory)
    with pytest.raises((UserError, ZeroDivisionError), match=words):
        run_training(dolls, tmp_path / "run", **SMALL, nThreads=2)
    assert not multiprocessing.active_children()
    assert not (tmp_path / "run/latest.pth").exists()  # nothing is done that --resume could go on with
