"""TensorBoard: what it shows after a run that was lost in part and resumed, and a disk that is full."""

import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data.label_values import PALETTE, UNKNOWN
from utils.errors import UserError
from utils.training.step import StepResult
from utils.training.visualizer import Visualizer

RESULT = StepResult(torch.tensor(3.0), [torch.tensor(1.0), torch.tensor(2.0)], torch.zeros(()), 0.1, False)
STATE = SimpleNamespace(iteration=5, samples_seen=164)


def read(folder) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})  # 0: keep all
    events.Reload()
    return events


def test_a_resumed_run_shows_every_iteration_once(tmp_path):
    lost = Visualizer(str(tmp_path), PALETTE)
    for iteration in range(1, 18):
        lost.scalars({"total_loss": 100 + iteration}, iteration)
    # The checkpoint stood at 10; 11 to 17 are lost, as after a kill: nothing is closed.
    time.sleep(1.1)  # files are named by the second
    resumed = Visualizer(str(tmp_path), PALETTE, iteration=10)
    for iteration in range(11, 21):
        resumed.scalars({"total_loss": iteration}, iteration)
    shown = [(event.step, event.value) for event in read(tmp_path).Scalars("total_loss")]
    assert shown == [(i, 100 + i if i <= 10 else i) for i in range(1, 21)]


def test_pictures_are_photo_label_and_prediction_side_by_side(tmp_path):
    photos = np.full((6, 3, 4, 5), 200, np.uint8)
    labels = torch.full((6, 4, 5), 1)
    labels[:, 0] = UNKNOWN
    logits = torch.zeros(6, 4, 4, 5)
    logits[:, 2] = 1
    visualizer = Visualizer(str(tmp_path), PALETTE)
    visualizer.pictures(photos, labels, logits, 3)
    picture = read(tmp_path).Images("photo_label_prediction")[0]
    assert (picture.step, picture.width, picture.height) == (3, 3 * 5, 4 * 4)  # four samples at most
    pixels = cv2.imdecode(np.frombuffer(picture.encoded_image_string, np.uint8), cv2.IMREAD_COLOR_RGB)
    shown = pixels[[1, 0, 1, 1], [2, 7, 7, 12]]
    assert shown.tolist() == [[200] * 3, *PALETTE[[UNKNOWN, 1, 2]].tolist()]


def test_losses_are_logged_with_speed_and_skipped_steps(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.training.visualizer.time.perf_counter", iter((10.0, 12.0)).__next__)
    visualizer = Visualizer(str(tmp_path), PALETTE, samples_seen=100)
    visualizer.losses(RESULT, 4, STATE)
    values = {tag: read(tmp_path).Scalars(tag)[0].value for tag in read(tmp_path).Tags()["scalars"]}
    expected = {"total_loss": 3, "loss0": 1, "loss1": 2, "lr": 0.1, "skipped_steps": 4, "images_per_second": 32}
    assert values == pytest.approx(expected)


def test_other_ranks_write_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.training.visualizer.rank", lambda: 1)
    with Visualizer(str(tmp_path / "logs"), PALETTE) as visualizer:
        visualizer.scalars({"total_loss": 1.0}, 1)
        visualizer.losses(RESULT, 4, STATE)
        visualizer.pictures(np.zeros((1, 3, 4, 4), np.uint8), torch.zeros(1, 4, 4), torch.zeros(1, 4, 4, 4), 1)
    assert not (tmp_path / "logs").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_is_one_line_and_nothing_waits(tmp_path):
    visualizer = Visualizer(str(tmp_path), PALETTE)
    visualizer.writer._py_recordio_writer._writer = Path("/dev/full").open("wb")  # noqa: SIM115
    with pytest.raises(UserError, match="cannot write logs to .*No space left on device.*--logs_dir"):
        for iteration in range(1000):
            visualizer.scalars({"total_loss": 1.0}, iteration)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write logs to .*--logs_dir"):
        Visualizer(str(tmp_path / "file" / "logs"), PALETTE)


def test_an_errors_line_begins_below_the_progress_bar(tmp_path, capsys):
    with pytest.raises(ValueError, match="first"), Visualizer(str(tmp_path), PALETTE, iterations=5) as visualizer:
        visualizer.progress.update()
        raise ValueError("first")
    assert capsys.readouterr().err.endswith("\n")
