"""Logs of a training run: TensorBoard and the progress bar."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import image, scalar
from torch import Tensor
from tqdm import tqdm

from utils.errors import UserError
from utils.files import make_folder
from utils.label_values import PALETTE
from utils.process_group import rank
from utils.training.run_folder import has_events
from utils.training.state import TrainingState
from utils.training.step import StepResult

SHOWN = 4  # photographs in the picture grid


class Visualizer:
    """Writes scalars, the picture grid photo | label | prediction, and a progress bar; silent off rank 0.

    It writes at once, in the training process: tensorboardX's SummaryWriter writes in a thread, and when that one
    fails, on a full disk for instance, training waits for it for ever. All methods raise UserError where the logs
    cannot be written.
    """

    def __init__(self, logs_dir: str, iteration: int = 0, iterations: int = 0, samples_seen: int = 0):
        """iteration, samples_seen: where the run starts; events of a lost part from there on are hidden."""
        self.logs_dir, self.writer = logs_dir, None
        self.progress = tqdm(initial=iteration, total=iterations, disable=rank() > 0, unit="it")
        self._logged = time.perf_counter(), samples_seen
        if rank() > 0:
            return
        with self._writing():
            make_folder(Path(logs_dir))
            begun_before = has_events(logs_dir)
            self.writer = EventsWriter(str(Path(logs_dir) / "events"))
        version = Event(step=iteration + 1, file_version="brain.Event:2")
        start = Event(step=iteration + 1, session_log=SessionLog(status=SessionLog.START))
        self._write(*(version, start) if begun_before else ())

    def losses(self, result: StepResult, skipped: int, state: TrainingState) -> None:
        """Losses of a step, learning rate, skipped steps, and images per second since the last call."""
        now, (before, samples_before) = time.perf_counter(), self._logged
        self._logged = now, state.samples_seen
        if self.writer:
            loss, speed = result.loss.item(), (state.samples_seen - samples_before) / (now - before)
            scalars = {"total_loss": loss} | {f"loss{i}": part.item() for i, part in enumerate(result.losses)}
            scalars |= {"lr": result.lr, "images_per_second": speed, "skipped_steps": skipped}
            self.scalars(scalars, state.iteration)
            self.progress.set_postfix_str(f"loss {loss:.3f}, {speed:.1f} img/s, {skipped} skipped")

    def scalars(self, values: dict[str, float], iteration: int) -> None:
        if self.writer:
            known = {name: value for name, value in values.items() if not math.isnan(value)}  # an IoU may be undefined
            self._write(*(Event(step=iteration, summary=scalar(name, value)) for name, value in known.items()))

    def pictures(self, photos: np.ndarray, labels: Tensor, logits: Tensor, iteration: int) -> None:
        """The first photographs of a batch.

        photos: N x 3 x h x w uint8 RGB. labels: N x h x w int64. logits: N x C x h x w.
        """
        if not self.writer:
            return
        predicted = logits.argmax(1)
        rows = [
            np.concatenate((photo, _coloured(label), _coloured(prediction)), 2)
            for photo, label, prediction in zip(photos[:SHOWN], labels[:SHOWN], predicted[:SHOWN], strict=True)
        ]
        grid = image("photo_label_prediction", np.concatenate(rows, 1), dataformats="CHW")
        self._write(Event(step=iteration, summary=grid))

    def _write(self, *events: Event) -> None:
        with self._writing():
            for event in events:
                event.wall_time = time.time()
                self.writer.write_event(event)
            self.writer.flush()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"cannot write logs to {self.logs_dir}: {error.strerror}; set --logs_dir") from None

    def __enter__(self) -> "Visualizer":
        return self

    def __exit__(self, *_) -> None:
        self.progress.close()  # and an error's line begins below the bar
        if self.writer:
            with self._writing():
                self.writer.close()


def _coloured(labels: Tensor) -> np.ndarray:
    """h x w -> 3 x h x w uint8 RGB."""
    return PALETTE[labels.cpu().numpy()].transpose(2, 0, 1)
