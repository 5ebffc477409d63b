"""What a weight file says of itself beside its weights."""

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from data.classes import is_class_name
from data.constants import MEAN, SIZE, STD
from utils.errors import UserError

if TYPE_CHECKING:  # options import this module, and PyTorch takes a second
    from torch import Tensor

INCLUDED_WEIGHTS = Path(__file__).parents[2] / "trained_checkpoint/cloth_segm_u2netp.pth"
METADATA_KEY = "cloth_segmentation"  # of the one JSON text in formats whose metadata is text
MAX_BYTES = 2_000_000_000  # of a weight file
MAX_SIDE = 8192  # of the input that a checkpoint or an option may ask for
StateDict = dict[str, "Tensor"]


@dataclass
class CheckpointInfo:
    """Class names by label value, input size, normalisation and origin; the defaults are the published network's."""

    class_names: tuple[str, ...] | None = None
    height: int = SIZE
    width: int = SIZE
    mean: float = MEAN
    std: float = STD
    iteration: int = 0
    metrics: dict[str, float] | None = None

    @classmethod
    def of(cls, content: dict, path: str | Path) -> "CheckpointInfo":
        """From the fields that a file has. Raises UserError where it describes itself with values no network has."""
        known = [field.name for field in fields(cls)]
        info = cls(**{key: value for key, value in content.items() if key in known})
        sizes_fit = all(type(side) is int and 32 <= side <= MAX_SIDE for side in (info.height, info.width))
        numbers = info.mean, info.std
        numbers_fit = all(isinstance(n, float | int) and math.isfinite(n) for n in numbers) and info.std > 0
        names = info.class_names
        listed = isinstance(names, list | tuple)
        names_fit = names is None or (listed and all(map(is_class_name, names)) and len(set(names)) == len(names))
        history_fits = type(info.iteration) is int and (info.metrics is None or _are_figures(info.metrics))
        if not (sizes_fit and numbers_fit and names_fit and history_fits):
            raise UserError(f"{path} describes itself wrongly (one of {', '.join(known)})")
        info.class_names = tuple(names) if names is not None else None
        return info

    def check_like(self, other: "CheckpointInfo", what: str) -> None:
        """Raise UserError where classes or normalisation are not those of ``other``. what: begins the message."""
        for name in ("class_names", "mean", "std"):
            its, wanted = getattr(self, name), getattr(other, name)
            if its != wanted:
                raise UserError(f"{what} has {name} {its}, not {wanted}; give other weights")


def _are_figures(metrics: object) -> bool:
    return isinstance(metrics, dict) and all(
        isinstance(name, str) and isinstance(value, float | int) for name, value in metrics.items()
    )


def description_of(metadata: dict[str, str], path: Path) -> dict:
    """What this project wrote into a file's metadata: one JSON text. Raises UserError where it is none."""
    try:
        description = json.loads(metadata.get(METADATA_KEY, "{}"))
    except ValueError:
        description = None
    if not isinstance(description, dict):
        raise UserError(f"{path} describes itself wrongly ({METADATA_KEY} is not a JSON object)")
    return description
