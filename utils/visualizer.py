"""Logs of a training run: TensorBoard and the progress bar."""

import time
from pathlib import Path

import numpy as np
import torch
from tensorboardX import SummaryWriter
from torch import Tensor
from tqdm import tqdm

from utils.errors import UserError


class Visualizer:
    """Writes scalars, the picture grid photo | label | prediction, and a progress bar; silent unless ``enabled``."""

    def __init__(
        self, logs_dir: str, palette: np.ndarray, iteration: int, iterations: int, samples_seen: int, enabled: bool
    ):
        """palette: 256 x 3 uint8, colour by label. iteration, samples_seen: where the run starts; on resume, events of
        a lost part from there on are hidden. enabled: whether this process is the one that writes (rank 0)."""
        self.writer = None
        self.palette = torch.from_numpy(palette.copy())
        self.progress = tqdm(initial=iteration, total=iterations, disable=not enabled, unit="it")
        self._logged = time.perf_counter(), samples_seen
        if not enabled:
            return
        try:
            Path(logs_dir).mkdir(parents=True, exist_ok=True)
            self.writer = SummaryWriter(logs_dir, purge_step=iteration + 1 if iteration else None)
        except OSError as error:
            raise UserError(f"cannot write logs to {logs_dir}: {error.strerror}; set --logs_dir") from None

    def losses(
        self, loss: Tensor, losses: list[Tensor], lr: float, skipped: int, iteration: int, samples_seen: int
    ) -> None:
        """Losses of a step, learning rate, skipped steps, and images per second since the last call."""
        now, (before, samples_before) = time.perf_counter(), self._logged
        self._logged = now, samples_seen
        if self.writer:
            speed = (samples_seen - samples_before) / (now - before)
            scalars = {"total_loss": loss.item()} | {f"loss{i}": part.item() for i, part in enumerate(losses)}
            self.scalars(scalars | {"lr": lr, "images_per_second": speed, "skipped_steps": skipped}, iteration)
            self.progress.set_postfix_str(f"loss {loss.item():.3f}, {speed:.1f} img/s, {skipped} skipped")

    def scalars(self, values: dict[str, float], iteration: int) -> None:
        if self.writer:
            for name, value in values.items():
                self.writer.add_scalar(name, value, iteration)

    def pictures(self, photos: np.ndarray, labels: Tensor, logits: Tensor, iteration: int, limit: int = 4) -> None:
        """photos: N x 3 x h x w uint8 RGB. labels: N x h x w int64, 255 is unknown. logits: N x C x h x w."""
        if not self.writer:
            return
        predicted = logits.argmax(1)
        rows = [
            torch.cat((torch.from_numpy(photos[i]), self._coloured(labels[i]), self._coloured(predicted[i])), 2)
            for i in range(min(limit, len(photos)))
        ]
        self.writer.add_image("photo_label_prediction", torch.cat(rows, 1), iteration)
        self.writer.flush()

    def _coloured(self, labels: Tensor) -> Tensor:
        return self.palette[labels.cpu()].permute(2, 0, 1)  # 3 x h x w

    def close(self) -> None:
        self.progress.close()
        if self.writer:
            self.writer.close()
