"""TensorBoard after a run that was lost in part and resumed."""

import time

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data.classes import palette
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
