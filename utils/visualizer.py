"""TensorBoard logs of a training run."""

from pathlib import Path

import numpy as np
import torch
from tensorboardX import SummaryWriter
from torch import Tensor

from utils.errors import UserError


class Visualizer:
    """Writes scalars and the picture grid photo | label | prediction."""

    def __init__(self, logs_dir: str, palette: np.ndarray, purge_step: int | None = None):
        """palette: C x 3 uint8. purge_step: on resume, events of a lost run from this step on are hidden."""
        try:
            Path(logs_dir).mkdir(parents=True, exist_ok=True)
            self.writer = SummaryWriter(logs_dir, purge_step=purge_step)
        except OSError as error:
            raise UserError(f"cannot write logs to {logs_dir}: {error.strerror}; set --logs_dir") from None
        self.palette = torch.from_numpy(palette)

    def scalars(self, values: dict[str, float], iteration: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, iteration)

    def pictures(self, photos: Tensor, labels: Tensor, logits: Tensor, iteration: int, most: int = 4) -> None:
        """photos: N x 3 x h x w uint8 RGB. labels: N x h x w int64. logits: N x C x h x w."""
        predicted = logits.argmax(1)
        rows = [
            torch.cat((photos[i].cpu(), self._coloured(labels[i]), self._coloured(predicted[i])), 2)
            for i in range(min(most, len(photos)))
        ]
        self.writer.add_image("photo_label_prediction", torch.cat(rows, 1), iteration)
        self.writer.flush()

    def _coloured(self, labels: Tensor) -> Tensor:
        return self.palette[labels.cpu()].permute(2, 0, 1)  # 3 x h x w

    def close(self) -> None:
        self.writer.close()
