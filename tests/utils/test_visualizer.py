"""TensorBoard after a run that was lost in part and resumed."""

import shutil
import time

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train
from data.classes import palette
from options.train_options import TrainOptions
from utils.visualizer import Visualizer


def test_a_resumed_run_shows_every_iteration_once(tmp_path):
    lost = Visualizer(str(tmp_path), palette(4))
    for iteration in range(1, 18):
        lost.scalars({"total_loss": 100 + iteration}, iteration)
    lost.close()  # the checkpoint stood at 10; 11 to 17 are lost
    time.sleep(1.1)  # tensorboardX names its files by the second
    resumed = Visualizer(str(tmp_path), palette(4), purge_step=11)
    for iteration in range(11, 21):
        resumed.scalars({"total_loss": iteration}, iteration)
    resumed.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    shown = [(event.step, event.value) for event in events.Scalars("total_loss")]
    assert shown == [(i, 100 + i if i <= 10 else i) for i in range(1, 21)]


def test_iterations_lost_with_a_kill_are_hidden_when_training_resumes(dolls, tmp_path, signals):
    def run(iterations: int, *more: str) -> None:
        flags = {
            "image_folder": dolls.image_folder, "df_path": dolls.df_path, "save_dir": tmp_path / "run",
            "logs_dir": tmp_path / "logs", "model": "u2netp", "fine_width": 64, "fine_height": 64, "nThreads": 0,
            "device": "cpu", "precision": "fp32", "print_freq": 1, "iter": iterations,
        }  # fmt: skip
        command = [part for key, value in flags.items() for part in (f"--{key}", str(value))]
        assert train.train(TrainOptions.parse([*command, "--no-continue_train", *more]), torch.device("cpu")) == 0
        time.sleep(1.1)  # tensorboardX names its files by the second

    run(1)
    shutil.copy(tmp_path / "run" / "latest.pth", tmp_path / "state_at_1.pth")
    run(4, "--resume")
    # As after a kill: three iterations were logged, but the state saved last is that of iteration 1.
    shutil.copy(tmp_path / "state_at_1.pth", tmp_path / "run" / "latest.pth")
    run(3, "--resume")
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    assert [event.step for event in events.Scalars("total_loss")] == [1, 2, 3]
