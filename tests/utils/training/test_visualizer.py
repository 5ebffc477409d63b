"""TensorBoard: what it shows after a run that was lost in part and resumed, and a disk that is full."""

import time
from pathlib import Path

import pytest

from tests.helpers import events_of
from utils.errors import UserError
from utils.training.visualizer import Visualizer


def test_a_resumed_run_shows_every_iteration_once(tmp_path):
    lost = Visualizer(str(tmp_path))
    for iteration in range(1, 18):
        lost.scalars({"total_loss": 100 + iteration}, iteration)
    # The checkpoint stood at 10; 11 to 17 are lost, as after a kill: nothing is closed.
    time.sleep(1.1)  # files are named by the second
    resumed = Visualizer(str(tmp_path), iteration=10)
    for iteration in range(11, 21):
        resumed.scalars({"total_loss": iteration}, iteration)
    shown = [(event.step, event.value) for event in events_of(tmp_path).Scalars("total_loss")]
    assert shown == [(i, 100 + i if i <= 10 else i) for i in range(1, 21)]


def test_a_figure_that_is_not_defined_is_left_out_without_a_word(tmp_path, capsys):
    Visualizer(str(tmp_path)).scalars({"val/iou_full": float("nan"), "val/iou_upper": 0.5}, 1)
    assert events_of(tmp_path).Tags()["scalars"] == ["val/iou_upper"]
    assert "NaN" not in "".join(capsys.readouterr())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_is_one_line_and_nothing_waits(tmp_path):
    visualizer = Visualizer(str(tmp_path))
    visualizer.writer._py_recordio_writer._writer = Path("/dev/full").open("wb")  # noqa: SIM115
    with pytest.raises(UserError, match="cannot write logs to .*No space left on device.*--logs_dir"):
        for iteration in range(1000):
            visualizer.scalars({"total_loss": 1.0}, iteration)
