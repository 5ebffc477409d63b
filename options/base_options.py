"""What all programs share: how options are declared, parsed, checked, shown and saved."""

import argparse
import math
import types
import typing
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path

import yaml

from utils.errors import UserError
from utils.files import write_atomically

SHIPPED_CHECKPOINT = "trained_checkpoint/cloth_segm_u2netp.pth"


def option(default, help: str, choices: tuple | None = None, at_least: float | None = None):
    """A dataclass field with what the command line needs to know of it."""
    return field(default=default, metadata={"help": help, "choices": choices, "at_least": at_least})


@dataclass
class BaseOptions:
    """How the options of a program become its command line; each program's own class declares them."""

    @classmethod
    def parse(cls, arguments: list[str] | None = None):
        """Options from the command line (``arguments``, or the process's own). Raises UserError."""
        formatter = lambda prog: argparse.ArgumentDefaultsHelpFormatter(prog, max_help_position=36, width=110)  # noqa: E731
        parser = argparse.ArgumentParser(description=cls.__doc__, formatter_class=formatter, allow_abbrev=False)
        for item in fields(cls):
            default = item.default if item.default is not MISSING else None
            kind, listed = _kind(item.type)
            settings = {"default": default, "help": item.metadata["help"]}
            if kind is bool:
                settings["action"] = argparse.BooleanOptionalAction
            else:
                settings |= {"type": kind, "choices": item.metadata["choices"], "metavar": kind.__name__.upper()}
                if listed:
                    settings["nargs"] = "+"
                if item.metadata["choices"]:
                    settings["metavar"] = "{" + ",".join(item.metadata["choices"]) + "}"
            parser.add_argument(f"--{item.name}", **settings)
        options = cls(**vars(parser.parse_args(arguments)))
        options.check()
        return options

    def check(self) -> None:
        """Raise UserError on values that no run can use; subclasses add their own."""
        for item in fields(self):
            least, value = item.metadata["at_least"], getattr(self, item.name)
            if value is not None and isinstance(value, float) and math.isnan(value):
                raise UserError(f"--{item.name} is not a number")
            if least is not None and value is not None and value < least:
                raise UserError(f"--{item.name} {value} is too small, it must be at least {least:g}")

    def changed(self) -> str:
        """The options that differ from their defaults, as one line."""
        different = [f"{f.name}={getattr(self, f.name)}" for f in fields(self) if getattr(self, f.name) != f.default]
        return ", ".join(different) or "defaults"

    def save(self, path: Path) -> None:
        """Write the resolved options as YAML. Raises UserError when the file cannot be written."""
        write_atomically(path, yaml.safe_dump(asdict(self), sort_keys=False).encode())


@dataclass
class NetworkOptions(BaseOptions):
    """Options of the programs that run the network."""

    device: str = option("auto", "auto (CUDA, else MPS, else CPU), cpu, cuda, cuda:N or mps; never a silent fallback")
    precision: str = option("auto", "auto is bf16 where the hardware has it, else fp32", ("auto", "fp32", "bf16"))


@dataclass
class PredictorOptions(NetworkOptions):
    """Options of the programs that predict with a checkpoint."""

    checkpoint_path: str = option(SHIPPED_CHECKPOINT, "weights: .pth of any published form, or .onnx")
    fine_width: int | None = option(None, "width the network sees; default: what the checkpoint says", at_least=32)
    fine_height: int | None = option(None, "height the network sees; default: what the checkpoint says", at_least=32)
    flip: bool = option(False, "predict the mirrored photo too and take the mean: a little better, twice the time")


def _kind(annotation) -> tuple[type, bool]:
    """(type of one value, whether it is a list) of a field's annotation; None in a union only means 'not set'."""
    if isinstance(annotation, types.UnionType):
        annotation = next(a for a in typing.get_args(annotation) if a is not type(None))
    if typing.get_origin(annotation) is list:
        return typing.get_args(annotation)[0], True
    return annotation, False
