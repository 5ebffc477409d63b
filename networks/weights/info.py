"""The description that a weight file has next to its weights."""

import json
import reprlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
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
        given = {field.name: content[field.name] for field in fields(cls) if field.name in content}
        for name, value in given.items():
            _check(name, value, f"{path}: ")
        info = cls(**given)
        info.class_names = info.class_names and tuple(info.class_names)
        return info

    def resized(self, height: int | None, width: int | None) -> "CheckpointInfo":
        """Itself, with the sides that are given. Raises UserError on sides that no network takes."""
        sides = {name: side for name, side in (("height", height), ("width", width)) if side is not None}
        for name, side in sides.items():
            _check(name, side)
        return replace(self, **sides)

    def check_like(self, other: "CheckpointInfo", what: str) -> None:
        """Raise UserError where classes or normalisation are not those of ``other``. what: begins the message."""
        for name in ("class_names", "mean", "std"):
            its, wanted = getattr(self, name), getattr(other, name)
            if its != wanted:
                raise UserError(f"{what} has {name} {its}, not {wanted}; give other weights")


def _is_number(value: object) -> bool:
    return isinstance(value, float | int) and abs(value) <= sys.float_info.max


def _is_side(value: object) -> bool:
    return type(value) is int and 32 <= value <= MAX_SIDE


def _are_class_names(value: object) -> bool:
    return value is None or (
        isinstance(value, list | tuple) and all(map(is_class_name, value)) and len(set(value)) == len(value)
    )


def _are_metrics(value: object) -> bool:
    return value is None or (
        isinstance(value, dict) and all(isinstance(k, str) and isinstance(v, float | int) for k, v in value.items())
    )


# What each field of CheckpointInfo must be, and how to say it.
FIELDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "class_names": (_are_class_names, "a list of different class names"),
    "height": (_is_side, f"a whole number from 32 to {MAX_SIDE}"),
    "width": (_is_side, f"a whole number from 32 to {MAX_SIDE}"),
    "mean": (_is_number, "a number"),
    "std": (lambda value: _is_number(value) and value > 0, "a number over 0"),
    "iteration": (lambda value: type(value) is int, "a whole number"),
    "metrics": (_are_metrics, "numbers by name"),
}


def _check(name: str, value: object, where: str = "") -> None:
    valid, wanted = FIELDS[name]
    if not valid(value):
        raise UserError(f"{where}{name} is {reprlib.repr(value)}; it must be {wanted}")


def description_of(metadata: dict[str, str], path: Path) -> dict:
    """What this project wrote into a file's metadata: one JSON text. Raises UserError where it is none."""
    try:
        description = json.loads(metadata.get(METADATA_KEY, "{}"))
    except (ValueError, RecursionError):
        description = None
    if not isinstance(description, dict):
        raise UserError(
            f"{path}: its metadata {METADATA_KEY} is {reprlib.repr(metadata[METADATA_KEY])}; it must be a JSON object"
        )
    return description
