"""How the options of a program are declared, read from the command line or a file, checked, shown and saved."""

import argparse
import math
import os
import sys
import types
import typing
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path

import yaml

from networks.weights.info import INCLUDED_WEIGHTS, MAX_SIDE
from utils.errors import UserError, configure_process, format_error
from utils.files import write_atomically

ROOT = Path(__file__).parents[1]
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text (in quotes if it is a number)"}
WEIGHT_FILES = ".pth of any published form, .safetensors or .onnx"
CLASS_MAP_HELP = "YAML or JSON file, class name -> category ids or names; default: upper, lower, full"


def option(
    default=MISSING,
    help: str = "",
    choices: tuple | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    on_resume: bool = False,
):
    """A dataclass field with what the command line needs to know of it; without a default it is required.

    at_least, at_most, below: limits of its value. on_resume: whether a resumed run may be given another value.
    """
    limits = {"at_least": at_least, "at_most": at_most, "below": below}
    metadata = {"help": help, "choices": choices, "on_resume": on_resume, **limits}
    return field(default=default, metadata=metadata, kw_only=True)


@dataclass
class BaseOptions:
    """The options of a program; each program's own class declares its own."""

    @classmethod
    def from_command_line(cls):
        """``parse`` for a program: ends it with one line on a mistake, before anything slow is imported."""
        # PyTorch reads it when it is imported. Its threads would else wait for each other in a loop, and take the
        # processor from the threads that decode photographs and from other programs (benchmarks/waiting_threads.py).
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        configure_process()
        try:
            return cls.parse()
        except (UserError, OSError) as error:
            raise SystemExit(format_error(error)) from None

    @classmethod
    def parse(cls, arguments: list[str] | None = None):
        """Options from the command line (``arguments``, or the process's own). Raises UserError."""
        return cls(**cls._given(arguments)).resolve()

    @classmethod
    def _given(cls, arguments: list[str] | None) -> dict[str, object]:
        """The values that the command line gives, by name; argparse ends the process on a usage error."""
        parser = argparse.ArgumentParser(
            prog=_program(), description=cls.__doc__, formatter_class=_formatter, allow_abbrev=False
        )
        for item in fields(cls):
            kind, listed = _kind(item.type)
            if kind is dict:  # in options files alone
                continue
            required = item.default is MISSING
            shown = "" if item.default is None else f" (default: {_shown(item.default)})"
            settings = {
                "default": argparse.SUPPRESS,
                "help": item.metadata["help"] + (" (required)" if required else shown),
                "required": required,
            }
            if kind is bool:
                settings["action"] = argparse.BooleanOptionalAction
            else:
                settings |= {"type": kind, "choices": item.metadata["choices"], "metavar": kind.__name__.upper()}
                if listed:
                    settings["nargs"] = "+"
                if item.metadata["choices"]:
                    settings["metavar"] = "{" + ",".join(item.metadata["choices"]) + "}"
            parser.add_argument(f"--{item.name}", **settings)
        cls._add_arguments(parser)
        return vars(parser.parse_args(arguments))

    @classmethod
    def _add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Arguments that are not options of the run itself."""

    def resolve(self):
        """Itself, after values that depend on others are filled in. Raises UserError on values no run can use.

        Subclasses add their own.
        """
        for item in fields(self):
            setattr(self, item.name, _plain(getattr(self, item.name)))
            check_limits(item, getattr(self, item.name))
        return self

    def find_defaults(self, *names: str) -> None:
        """Let paths that are still the default be found from any folder; a path that the user gives stays as it is."""
        for item in fields(self):
            if item.name in names and getattr(self, item.name) == item.default:
                setattr(self, item.name, in_repository(item.default))

    def changed(self) -> str:
        """The options that differ from their defaults, as one line."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != _plain(f.default)}
        return ", ".join(f"{name}={value}" for name, value in values.items()) or "defaults"

    def save(self, path: Path) -> None:
        """Write all options as YAML. Raises UserError when the file cannot be written."""
        write_atomically(path, yaml.safe_dump(asdict(self), sort_keys=False).encode())


@dataclass
class NetworkOptions(BaseOptions):
    """Options of the programs that run the network."""

    device: str = option(
        "auto",
        "auto (CUDA, else MPS, else CPU), cpu, cuda, cuda:N or mps; stops if that device is missing",
        on_resume=True,
    )
    precision: str = option(
        "auto",
        "auto is bf16 where the hardware and the engine have it, else fp32; fp16 is for GPUs without bf16, such as T4 "
        "and V100",
        ("auto", "fp32", "bf16", "fp16"),
    )


@dataclass
class PredictorOptions(NetworkOptions):
    """Options of the programs that predict with a checkpoint."""

    checkpoint_path: str = option(str(INCLUDED_WEIGHTS), f"weights: {WEIGHT_FILES}")
    fine_width: int | None = option(
        None, "width the network sees; default: what the checkpoint says", at_least=32, at_most=MAX_SIDE
    )
    fine_height: int | None = option(
        None, "height the network sees; default: what the checkpoint says", at_least=32, at_most=MAX_SIDE
    )
    engine: str = option(
        "auto",
        "auto takes the fastest that is installed: PyTorch on GPUs, OpenVINO on CPUs",
        ("auto", "torch", "openvino", "onnxruntime"),
    )
    flip: bool = option(False, "predict the mirrored photo too and take the mean: a little better, twice the time")

    @property
    def predictor(self) -> dict[str, object]:
        """Arguments of Predictor.load."""
        return {
            "path": self.checkpoint_path,
            "device": self.device,
            "precision": self.precision,
            "height": self.fine_height,
            "width": self.fine_width,
            "flip": self.flip,
            "engine": self.engine,
        }


@dataclass
class PostprocessOptions(BaseOptions):
    """Options of the programs that can change what the network found. Sizes are pixels of the photograph."""

    one_garment: bool = option(
        False, "give connected clothes the class that most of their pixels have: for photos of single garments"
    )
    min_area: int = option(
        0, "regions of a class smaller than so many pixels take what is around them, mostly background", at_least=0
    )
    fill_holes: int = option(0, "holes in clothes smaller than so many pixels take the class around them", at_least=0)
    grow: int = option(0, "let clothes grow into the background by so many pixels", at_least=0)
    shrink: int = option(0, "let clothes shrink from the background by so many pixels", at_least=0)

    def resolve(self):
        super().resolve()
        if self.grow and self.shrink:
            raise UserError("--grow and --shrink move the same edges; give one of them")
        return self

    @property
    def postprocess(self) -> dict[str, object]:
        """Arguments of Postprocess."""
        return {
            "one_garment": self.one_garment,
            "min_area": self.min_area,
            "fill_holes": self.fill_holes,
            "grow": self.grow,
            "shrink": self.shrink,
        }


@dataclass
class TableOptions(BaseOptions):
    """Options of the programs that read a label table."""

    image_folder: str = option("../imaterialist/train/", "folder of the photographs", on_resume=True)
    df_path: str = option(
        "../imaterialist/train.csv",
        "labels: table (CSV), COCO file (.json), or folder of label maps",
        on_resume=True,
    )
    class_map: str | None = option(None, CLASS_MAP_HELP)

    def resolve(self):
        super().resolve()
        self.find_defaults("image_folder", "df_path")
        return self


def in_repository(path: str) -> str:
    """A path as it is where it exists, else below the repository's root where it exists there.

    Defaults are written as seen from the root, and programs may be started anywhere.
    """
    return path if Path(path).exists() or not (ROOT / path).exists() else str(ROOT / path)


def refuse_existing(output: str) -> None:
    """Raise UserError where the file that --output names exists."""
    if Path(output).exists():
        raise UserError(f"{output} exists; remove it first, or choose another --output")


def refuse_filled(folder: str) -> None:
    """Raise UserError where the folder that --output_dir names holds something, or is a file."""
    if Path(folder).exists() and (not Path(folder).is_dir() or any(Path(folder).iterdir())):
        raise UserError(f"{folder} exists already and is not an empty folder; choose another --output_dir")


def check_limits(item, value: object) -> None:
    """Raise UserError where an option's value is not a finite number or outside its limits. item: its field."""
    for number in value if isinstance(value, list) else [value]:
        if not isinstance(number, int | float):
            continue
        least, most, below = (item.metadata[name] for name in ("at_least", "at_most", "below"))
        if math.isnan(number):
            raise UserError(f"--{item.name} is not a number")
        if math.isinf(number) and item.default != math.inf:
            raise UserError(f"--{item.name} {number} must be finite")
        if least is not None and number < least:
            raise UserError(f"--{item.name} {number} is too small, it must be at least {least:g}")
        if most is not None and number > most:
            raise UserError(f"--{item.name} {number} is too large, it must be at most {most:g}")
        if below is not None and number >= below:
            raise UserError(f"--{item.name} {number} is too large, it must be below {below:g}")


def check_value(item, value: object, path: str) -> object:
    """An option's value from a file, as strictly as on the command line. item: its field. Raises UserError."""
    kind, listed = _kind(item.type)
    if value is None and isinstance(item.type, types.UnionType):
        return None
    values = value if listed and isinstance(value, list) and value else [value]
    if kind is float:
        values = [_number(v) for v in values]
    fits = listed == isinstance(value, list) and all(type(v) is kind for v in values)
    choices = item.metadata["choices"]
    if not fits or (choices and not all(v in choices for v in values)):
        wanted = f"one of {', '.join(choices)}" if choices else f"{'a list, each ' if listed else ''}{KINDS[kind]}"
        raise UserError(f"{path}: {item.name} is {value!r}, it must be {wanted}")
    value = values if listed else values[0]
    try:
        check_limits(item, value)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return value


def _number(value: object) -> object:
    """A float of what YAML reads as an integer, or as text, such as 1e-3, which it wants written 1.0e-3."""
    try:
        return float(value) if type(value) in (int, str) else value
    except ValueError:
        return value


def read_options_file(cls: type[BaseOptions], path: str) -> dict[str, object]:
    """Values by option name from a YAML file such as ``save`` writes. Raises UserError."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the options file {path}: {error.strerror}") from None
    except (ValueError, yaml.YAMLError):
        raise UserError(f"the options file {path} is not valid YAML") from None
    if not isinstance(content, dict):
        raise UserError(f"the options file {path} must map option names to values, one a line")
    known = {item.name: item for item in fields(cls)}
    unknown = [str(name) for name in content if name not in known]
    if unknown:
        raise UserError(f"{path}: unknown option {unknown[0]} (see --help)")
    return {name: check_value(known[name], value, path) for name, value in content.items()}


def _kind(annotation) -> tuple[type, bool]:
    """(type of one value, whether it is a list) of a field's annotation; None in a union only means 'not set'."""
    if isinstance(annotation, types.UnionType):
        annotation = next(a for a in typing.get_args(annotation) if a is not type(None))
    if typing.get_origin(annotation) is list:
        return typing.get_args(annotation)[0], True
    return annotation, False


def _plain(default: object) -> object:
    """A field's default as the command line would give it: dataclasses forbid lists as defaults."""
    return list(default) if isinstance(default, tuple) else default


def _shown(default: object) -> str:
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _program() -> str:
    """The program as it was called: the name of its file, or python -m and its package."""
    path = Path(sys.argv[0])
    if path.name != "__main__.py":
        return path.name
    package = path.resolve().parent.relative_to(ROOT) if path.resolve().is_relative_to(ROOT) else path.parent
    return f"python -m {'.'.join(package.parts)}"


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.HelpFormatter(prog, max_help_position=36, width=110)
