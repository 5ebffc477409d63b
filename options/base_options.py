"""How the options of a program are declared, read from the command line or a file, checked, shown and saved."""

import argparse
import inspect
import math
import os
import sys
import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from pathlib import Path

import yaml

from networks.engines.settings import ENGINES, MAX_THREADS, PRECISIONS
from networks.weights.info import INCLUDED_WEIGHTS, MAX_SIDE
from utils.documents import read_document
from utils.errors import UserError, configure_process, first_to_say, format_error
from utils.files import write_atomically

ROOT = Path(__file__).parents[1]
METAVARS = {int: "N", float: "NUMBER", str: "TEXT"}  # what --help shows for a value
WEIGHT_FILES = ".pth of any published form, .safetensors, .onnx, or u2net_cloth_seg (downloaded once)"
SIDE = {"at_least": 32, "at_most": MAX_SIDE}  # limits of the input's width and height
CLASS_MAP_HELP = "YAML or JSON file, class name -> category ids or names; default: upper, lower, full"


def option(
    default=MISSING,
    help: str = "",
    choices: tuple | None = None,
    metavar: str | None = None,
    group: str | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    on_resume: bool = False,
):
    """A dataclass field with what the command line needs to know about it; without a default it is required.

    group: a heading in --help, for this option and those after it in its class. at_least, at_most, below: limits of its
    value. on_resume: whether a resumed run may be given another value.
    """
    texts = {"help": help, "choices": choices, "metavar": metavar, "group": group}
    limits = {"at_least": at_least, "at_most": at_most, "below": below}
    return field(default=default, metadata={**texts, **limits, "on_resume": on_resume}, kw_only=True)


class Parser(argparse.ArgumentParser):
    """argparse's, whose messages come once from several processes of one launcher."""

    def error(self, message: str):
        text = f"{self.format_usage()}{self.prog}: error: {message}\n"
        self.exit(2, text if first_to_say(text) else None)


@dataclass
class BaseOptions:
    """The options of a program; each program's own class declares its own."""

    @classmethod
    def from_command_line(cls):
        """``parse`` for a program: ends it with one line on a mistake, before anything slow is imported."""
        # PyTorch reads it when it is imported. Its threads would else wait for each other in a loop, and take the
        # processor from the threads that decode photographs and from other programs (docs/speed.md).
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        configure_process()
        try:
            return cls.parse()
        except (UserError, OSError) as error:
            message = format_error(error)
            raise SystemExit(message if first_to_say(message) else 1) from None

    @classmethod
    def parse(cls, arguments: list[str] | None = None):
        """Options of ``arguments`` or the command line. Raises UserError; argparse ends the process on usage errors."""
        return cls(**vars(cls._parser().parse_args(arguments))).resolve()

    @classmethod
    def _parser(cls) -> argparse.ArgumentParser:
        """A parser of all options; it leaves out what is not given."""
        parser = Parser(
            prog=_program(),
            usage="%(prog)s [options]",
            description=cls.__doc__,
            formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=36, width=110),
            allow_abbrev=False,
        )
        groups = {None: parser}
        for title, item in cls._by_group():
            kind, listed = _kind(item.type)
            if kind is dict:  # only in options files
                continue
            settings = {
                "help": item.metadata["help"] + _shown_default(item),
                "default": argparse.SUPPRESS,
                "required": item.default is MISSING,
            }
            if kind is bool:
                settings["action"] = argparse.BooleanOptionalAction
            else:
                choices = item.metadata["choices"]
                metavar = item.metadata["metavar"] or ("{" + ",".join(choices) + "}" if choices else METAVARS[kind])
                settings |= {"type": kind, "choices": choices, "metavar": metavar, "nargs": "+" if listed else None}
            if title not in groups:
                groups[title] = parser.add_argument_group(title)
            groups[title].add_argument(f"--{item.name}", **settings)
        return parser

    @classmethod
    def _by_group(cls) -> Iterator[tuple[str | None, Field]]:
        """(heading in --help, option) of all options; the program's own come before those that programs share."""
        remaining = {item.name: item for item in fields(cls)}
        for owner in cls.__mro__[:-1]:
            title = None
            for name in inspect.get_annotations(owner):
                title = owner.__dataclass_fields__[name].metadata["group"] or title
                if name in remaining:
                    yield title, remaining.pop(name)

    def resolve(self):
        """Itself, with what depends on other values filled in; subclasses add their own. Raises UserError."""
        for item in fields(self):
            value = _plain(getattr(self, item.name))
            value = list(map(_expanded, value)) if isinstance(value, list) else _expanded(value)
            setattr(self, item.name, value)
            check_value(item, value)
        return self

    def find_defaults(self, *names: str) -> None:
        """Let paths that are still the default be found from any folder; a path that the user gives stays as it is."""
        for name in names:
            value = getattr(self, name)
            if value == _plain(self.__dataclass_fields__[name].default):
                found = list(map(in_repository, value)) if isinstance(value, list) else in_repository(value)
                setattr(self, name, found)

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
        group="machine",
        on_resume=True,
    )
    precision: str = option(
        "auto",
        "auto is bf16 where hardware and engine support it, else fp32; fp16 is for GPUs without bf16, such as T4 and "
        "V100",
        ("auto", *PRECISIONS),
    )


@dataclass
class PredictorOptions(NetworkOptions):
    """Options of the programs that predict with a checkpoint."""

    checkpoint_path: str = option(
        str(INCLUDED_WEIGHTS),
        f"weights: {WEIGHT_FILES}, or an .xml of export.py",
        metavar="FILE",
        group="weights and engine",
    )
    fine_width: int | None = option(None, "input width of the network; default: the checkpoint's", **SIDE)
    fine_height: int | None = option(None, "input height of the network; default: the checkpoint's", **SIDE)
    engine: str = option(
        "auto", "auto is the fastest one installed: PyTorch on GPUs, OpenVINO on CPUs", ("auto", *ENGINES)
    )
    threads: int | None = option(
        None,
        "CPU threads of the network; default: all cores, or the share of a torchrun process",
        at_least=1,
        at_most=MAX_THREADS,
    )
    flip: bool = option(False, "also predict the mirrored photo and use the mean: slightly better, twice the time")

    @property
    def predictor(self) -> dict[str, object]:
        """Arguments of Predictor.load."""
        same = {name: getattr(self, name) for name in ("device", "precision", "flip", "engine", "threads")}
        return {"path": self.checkpoint_path, "height": self.fine_height, "width": self.fine_width, **same}


@dataclass
class PostprocessOptions(BaseOptions):
    """Options of the programs that can change what the network found. Sizes are pixels of the photo."""

    one_garment: bool = option(
        False,
        "one class per connected region, by majority vote: for photos of single garments",
        group="clean up masks (sizes in pixels of the photo)",
    )
    min_area: int = option(
        0, "remove regions smaller than N pixels (they take the surrounding class or background)", at_least=0
    )
    fill_holes: int = option(0, "fill holes smaller than N pixels", at_least=0)
    grow: int = option(0, "expand the clothes by N pixels", at_least=0)
    shrink: int = option(0, "shrink the clothes by N pixels", at_least=0)

    def resolve(self):
        super().resolve()
        if self.grow and self.shrink:
            raise UserError("--grow and --shrink move the same edges; give one of them")
        return self

    @property
    def postprocess(self) -> dict[str, object]:
        """Arguments of Postprocess."""
        return {item.name: getattr(self, item.name) or item.default for item in fields(PostprocessOptions)}


@dataclass
class TableOptions(BaseOptions):
    """Options of the programs that read labelled photos."""

    image_folder: str = option(
        "../imaterialist/train/", "folder of the photos", metavar="FOLDER", group="data", on_resume=True
    )
    df_path: str = option(
        "../imaterialist/train.csv",
        "labels: table (CSV), COCO file (.json), or folder of label maps",
        metavar="FILE",
        on_resume=True,
    )
    class_map: str | None = option(None, CLASS_MAP_HELP, metavar="FILE")

    def resolve(self):
        super().resolve()
        self.find_defaults("image_folder", "df_path")
        return self


def in_repository(path: str) -> str:
    """A path as it is, or below the repository's root where it only exists there: programs may be started anywhere."""
    return path if Path(path).exists() or not (ROOT / path).exists() else str(ROOT / path)


def refuse_existing(output: str) -> None:
    """Raise UserError where the file that --output names exists."""
    if Path(output).exists():
        raise UserError(f"{output} exists; remove it first, or choose another --output")


def check_categories(categories: list[str], class_names: tuple[str, ...]) -> None:
    """Raise UserError where --category names something else than a class of clothes or 'any'."""
    known = ("any", *class_names[1:])
    if unknown := [category for category in categories if category not in known]:
        raise UserError(f"--category {unknown[0]}: this checkpoint knows {', '.join(known)}")


def check_report_dir(report_dir: str | None, image_folder: str | None, inside: bool = False) -> None:
    """Raise UserError where pictures would lie among the photos and count as such: in their folder, or, with
    ``inside``, in one below."""
    if not (report_dir and image_folder):
        return
    photos, report = Path(image_folder).resolve(), Path(report_dir).resolve()
    if report == photos or (inside and photos in report.parents):
        raise UserError(f"--report_dir {report_dir} lies among the photos; choose another folder")


def check_value(item: Field, value: object) -> None:
    """Raise UserError where an option's value is an empty text, not a finite number, or outside its limits."""
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, str) and not each.strip():
            raise UserError(f"--{item.name} is empty; give a value, or leave it out")
        if not isinstance(each, int | float):
            continue
        least, most, below = (item.metadata[name] for name in ("at_least", "at_most", "below"))
        if math.isnan(each):
            raise UserError(f"--{item.name} is not a number")
        if math.isinf(each) and item.default != math.inf:
            raise UserError(f"--{item.name} {each} must be finite")
        if least is not None and each < least:
            raise UserError(f"--{item.name} {each} is too small, it must be at least {least:g}")
        if most is not None and each > most:
            raise UserError(f"--{item.name} {each} is too large, it must be at most {most:g}")
        if below is not None and each >= below:
            raise UserError(f"--{item.name} {each} is too large, it must be below {below:g}")


def read_options_file(cls: type[BaseOptions], path: str) -> dict[str, object]:
    """Values by name from a YAML file as ``save`` writes it, checked as on the command line. Raises UserError."""

    def refuse(message: object) -> typing.NoReturn:
        raise UserError(f"{path}: {message}")

    content = read_document(path, "options file")
    if not isinstance(content, dict):
        raise UserError(f"the options file {path} must map option names to values, one a line")
    known = {item.name: item for item in fields(cls)}
    values, words = {}, []
    for name, value in content.items():
        if name not in known:
            refuse(f"unknown option {name} (see --help)")
        kind, listed = _kind(known[name].type)
        several = value if listed and isinstance(value, list) else [value]
        if value is None and isinstance(known[name].type, types.UnionType):
            values[name] = None
        elif kind in (bool, dict, str) and not all(isinstance(each, kind) for each in several):
            wanted = {bool: "true or false", dict: "a mapping", str: "text, in quotes if it looks like something else"}
            refuse(f"{name} is {value!r}; it must be {wanted[kind]}")
        elif kind in (bool, dict):
            values[name] = value
        else:
            words += [f"--{name}", *map(str, several)] if listed else [f"--{name}={value}"]
    parser = cls._parser()
    parser.error = refuse
    return values | vars(parser.parse_args(words))


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


def _expanded(value: object) -> object:
    """A path below the home folder that begins with ~; shells leave it as it is in --option=~/path."""
    if not isinstance(value, str) or not (value == "~" or value.startswith(("~/", f"~{os.sep}"))):
        return value
    try:
        return str(Path(value).expanduser())
    except RuntimeError:
        raise UserError(f"{value}: this user has no home folder; write the path in full") from None


def _shown_default(item: Field) -> str:
    """What --help says about an option's default; nothing of a flag that is off, or of one without a default."""
    if item.default is MISSING:
        return " (required)"
    if item.default is None or item.default is False:
        return ""
    values = item.default if isinstance(item.default, tuple) else (item.default,)
    shown = " ".join("on" if value is True else str(value).replace(f"{ROOT}{os.sep}", "") for value in values)
    return f" (default: {shown})".replace("%", "%%")  # argparse fills in what follows a single one


def _program() -> str:
    """The program: the name of its file, or python -m and its module."""
    spec = sys.modules["__main__"].__spec__
    return f"python -m {spec.name.removesuffix('.__main__')}" if spec else Path(sys.argv[0]).name
