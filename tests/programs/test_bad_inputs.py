"""The table of bad and odd inputs: what each program makes of it, and that nothing is lost, left over or half-written.

One fault of each kind for each program; what else a module refuses is in the module's own tests. The words of a row
are patterns, in any case of letters.
"""

import functools
import io
import itertools
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from networks.predictor import Predictor
from networks.u2net import build_network
from tests.helpers import ROOT, DataSet, flags_of, make_paper_dolls, mount_tmpfs, run_here, run_script, training_flags


@dataclass
class Given:
    """What a row can use. folder: empty, and its own. checkpoint: a four-class U2NETP that sees 64x64."""

    folder: Path
    checkpoint: Path
    dolls: DataSet
    mounts: list[Path] = field(default_factory=list)

    def write(self, name: str, content: bytes | str = b"") -> Path:
        """A file below the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def mount(self, settings: str) -> Path:
        """A file system of its own below the folder; the test is skipped where that is not allowed."""
        path = self.folder / "disk"
        path.mkdir()
        mount_tmpfs(path, settings)
        self.mounts.append(path)
        return path


class Row(NamedTuple):
    """command: makes the input and returns the program and its arguments. files: below the folder, in the end."""

    name: str
    command: Callable[[Given], list]
    code: int
    words: tuple[str, ...]
    files: tuple[str, ...]


TABLE: list[Row] = []


@pytest.fixture(scope="module")
def few_dolls(tmp_path_factory) -> Iterator[DataSet]:
    """Three dolls. Each checkpoint is read once meanwhile: that would take most of the table's time."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Predictor, "load", functools.cache(Predictor.load))
        yield DataSet(*make_paper_dolls(tmp_path_factory.mktemp("few"), photos=3))


@pytest.fixture
def given(tmp_path, tiny_checkpoint, few_dolls) -> Iterator[Given]:
    given = Given(tmp_path, tiny_checkpoint, few_dolls)
    given.write("photos/good.jpg", encoded("JPEG"))
    given.write("file", "a file")
    yield given
    for path in given.mounts:
        subprocess.run(["umount", "--lazy", str(path)], check=True)  # a run holds its folder open


PLAIN = {"device": "cpu", "precision": "fp32"}
# The programs, each with the options that it needs.
BASE = {
    "infer.py": lambda g: {"image_dir": g.folder / "photos", "result_dir": g.folder / "out", **weights(g), **PLAIN},
    "evaluate.py": lambda g: labelled(g) | weights(g) | PLAIN,
    "-m data.audit": lambda g: labelled(g),
    "setup_model_weights.py": lambda g: {"model": "u2netp", "weights": g.checkpoint, "save_dir": g.folder / "new"},
    "deploy/build_archive.py": lambda g: weights(g) | {"output_dir": g.folder / "store"},
    "export.py": lambda g: weights(g) | {"output": g.folder / "new.pth"},
    "deploy/convert_to_torchscript.py": lambda g: weights(g) | {"output": g.folder / "new.pt"},
    "deploy/deployed_infer.py": lambda g: {"input": "file", "output": g.folder / "out", "url": "http://127.0.0.1:9"},
}


def weights(given: Given) -> dict:
    return {"checkpoint_path": given.checkpoint}


def labelled(given: Given) -> dict:
    return {"image_folder": given.dolls.image_folder, "df_path": given.dolls.df_path}


def call(program: str, given: Given, **changes) -> list:
    """A program with its options and others, which win."""
    if program == "train.py":
        flags = training_flags(given.dolls, given.folder / "run", iter=1)
    else:
        flags = flags_of(BASE[program](given))
    return [*program.split(), *flags, *flags_of(changes)]


def add(program: str, name: str, words: tuple | str, options, code: int = 1, files: tuple = ()) -> None:
    """Put a row into the table; ``options`` makes its input and returns the options that have it."""
    words = (words,) if isinstance(words, str) else words
    TABLE.append(Row(f"{program}: {name}", lambda g: call(program, g, **options(g)), code, words, files))


# Photographs: a good one lies beside each, which is segmented whatever happens.


def noise(height: int = 24, width: int = 32) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(form: str, image: Image.Image | None = None, **settings) -> bytes:
    buffer = io.BytesIO()
    (image or noise()).save(buffer, form, **settings)
    return buffer.getvalue()


BROKEN = {
    "empty.jpg": b"", "cut.jpg": encoded("JPEG", noise(200, 200))[:3000], "text.jpg": b"no image",
    "zeros.bmp": bytes(5000), "bomb.jpg": b"P5 60000 60000 255\n", "page.png": b"<!DOCTYPE html><html>404</html>",
    "two\nlines.jpg": b"", os.fsdecode(b"\xff.jpg"): b"",
}  # fmt: skip
ODD = {
    "one.png": encoded("PNG", noise(1, 1)), "narrow.png": encoded("PNG", noise(20_000, 1)),
    "low.png": encoded("PNG", noise(1, 20_000)), "png.jpg": encoded("PNG"), "capitals.JPG": encoded("JPEG"),
    "moving.gif": encoded("GIF", save_all=True, append_images=[noise(), noise()]),
    "exif.jpg": encoded("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"),
    **dict.fromkeys(
        (
            "läuft 服 한국 عربى 👗.jpg", "a\nb.jpg", os.fsdecode(b"\xff\xfe.jpg"), "x" * 251 + ".jpg",
            "é" * 125 + "x.jpg", " --help '\"$(x).jpg", "a.b..c.jpg", "/".join("abcdefghij") + "/a.jpg",
            "-rf.jpg", "*.jpg", "tab\t.jpg", "CON.jpg", "same/a.jpeg", "same/b.jpg.jpg",
        ),
        encoded("JPEG"),
    ),
}  # fmt: skip


def write_all(given: Given, files: dict[str, bytes]) -> dict:
    for name, content in files.items():
        given.write(f"photos/{name}", content)
    return {}


def write_links(given: Given) -> dict:
    folder = given.folder / "photos"
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    (folder / "linked.jpg").symlink_to(given.write("elsewhere.jpg", encoded("JPEG")))
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.jpg")
    return {}


BROKEN_WORDS = (
    f"1 of {1 + len(BROKEN)} photographs", "3600 megapixels are over the limit of", r"text\.jpg: not an image",
    r"cut\.jpg: broken", *(rf"skipped .*{re.escape(repr(name)[1:-1])}: (not an image|broken|3600)" for name in BROKEN),
)  # fmt: skip
ODD_MASKS = tuple(f"out/{Path(name).with_suffix('.png')}" for name in ODD)
GOOD = ("out/good.png",)
add("infer.py", "broken photos", BROKEN_WORDS, lambda g: write_all(g, BROKEN), files=GOOD)
add("infer.py", "odd names and forms", (), lambda g: write_all(g, ODD), 0, files=GOOD + ODD_MASKS)
add("infer.py", "links, a loop, a pipe", (r"gone\.jpg: no such file", "2 of 3"), write_links, files=("out/linked.png",))


# Where photographs are, and where results go.

for name, words, option, value in (
    ("a single file that is not one", ("skipped .*file: not an image", "0 of 1"), "image_dir", "./file"),
    ("results into the folder written otherwise", "same folder", "result_dir", "./photos/../photos/"),
    ("results into too long a name", "cannot write into .*: File name too long", "result_dir", "./" + "x" * 300),
    ("results into /proc", "cannot write into /proc/out: ", "result_dir", "/proc/out"),
    ("background as a category", "--category background: .*any, upper", "category", ["upper", "background"]),
):
    add("infer.py", name, words, lambda g, o=option, v=value: {o: f"{g.folder}{v[1:]}" if v[0] == "." else v})
for result_dir, mask in (("photos/results", "photos/results/good.png"), ("", "good.png")):
    add("infer.py", f"results into {mask}", (), lambda g, r=result_dir: {"result_dir": g.folder / r}, 0, files=(mask,))
add("infer.py", "asked for twice", (), lambda g: {"outputs": ["mask"] * 2, "category": ["any"] * 2}, 0, files=GOOD)


# Weights, label tables, class maps and folders of photographs, one fault of each kind for each program.


class RunsCode:
    """What a pickle can do: run any code when it is read."""

    def __reduce__(self):
        return os.mkdir, ("marker",)


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


# What the file holds (None: there is none), what is said of it.
WEIGHTS = {
    "missing": (None, r"there (is|are) no .*w\.pth"),
    "a web page": (b"<!DOCTYPE html><html>quota</html>", "web page"),
    "one that runs code": (saved(RunsCode()), "is refused.*run code"),
    "saliency weights": (saved(build_network("u2netp", 1).state_dict()), r"saliency.*setup_model_weights\.py"),
}
TABLES = {
    "missing": (None, r"no label table at .*table\.csv"),
    "photographs that are not there": (
        "ImageId,EncodedPixels,Height,Width,ClassId\nabsent.jpg,1 5,9,9,1\n", "nothing usable.*missing photo",
    ),
}  # fmt: skip
CLASS_MAPS = {"missing": (None, "cannot read the class map .*map.yml"), "a list": ("[upper]", "must map")}


# Saliency weights are what surgery and training start from.
STARTS = {("saliency weights", "weights"), ("saliency weights", "unet_checkpoint")}


def add_files(program: str, option: str, name: str, files: dict, **more) -> None:
    """Rows for files of every kind of a table above, given to a program by an option."""
    for kind, (content, words) in files.items():

        def options(given: Given, content=content) -> dict:
            if content is not None:
                given.write(name, content)
            return {option: given.folder / name, **more}

        if (kind, option) not in STARTS:
            add(program, f"{option} {name}, {kind}", words, options)


for program in ("infer.py", "evaluate.py", "export.py", "deploy/convert_to_torchscript.py", "deploy/build_archive.py"):
    add_files(program, "checkpoint_path", "w.pth", WEIGHTS)
add_files("setup_model_weights.py", "weights", "w.pth", WEIGHTS)
add_files("setup_model_weights.py", "class_map", "map.yml", CLASS_MAPS)
add_files("train.py", "unet_checkpoint", "w.pth", WEIGHTS, continue_train=True)
add_files("train.py", "val_df_path", "table.csv", TABLES, val_image_folder="input_images")
for program in ("evaluate.py", "train.py", "-m data.audit"):
    add_files(program, "df_path", "table.csv", TABLES)
    add_files(program, "class_map", "map.yml", CLASS_MAPS)
    add(program, "no photos", "absent", lambda g: {"image_folder": "absent"})


# What else the programs are told.


def write_odd_photos(given: Given) -> dict:
    rows = "ImageId,EncodedPixels,Height,Width,ClassId\n"
    for mode, width, height in (
        ("RGB", 1, 1), ("L", 700, 7), ("CMYK", 2, 900), ("RGBA", 40, 30), ("I;16", 40, 30), ("P", 40, 30), ("1", 9, 9),
    ):  # fmt: skip
        name = f"{mode.replace(';', '_')}.tif"
        given.write(f"odd/{name}", encoded("TIFF", Image.new("RGB", (width, height)).convert("L").convert(mode)))
        rows += f"{name},1 {width * height},{height},{width},0\n"
    return {
        "image_folder": given.folder / "odd", "df_path": given.write("rows.csv", rows), "iter": 4, "augment": "full",
    }  # fmt: skip


def pngs(given: Given, *names: str) -> list[Path]:
    return [given.write(name, encoded("PNG")) for name in names]


NO_FOLDER = "cannot write .*: Not a directory"
CLIENT, SURGERY = "deploy/deployed_infer.py", "setup_model_weights.py"
TOLD = (
    ("evaluate.py", NO_FOLDER, lambda g: {"checkpoint_path": "absent.pth", "report_dir": g.folder / "file/x"}),
    ("evaluate.py", NO_FOLDER, lambda g: {"checkpoint_path": "absent.pth", "json": g.folder / "file/x"}),
    ("-m data.audit", NO_FOLDER, lambda g: {"report_dir": g.folder / "file"}),
    ("-m data.audit", "--against_", lambda g: {"against_df_path": g.dolls.df_path}),
    ("export.py", NO_FOLDER, lambda g: {"output": g.folder / "file/new.pth"}),
    (SURGERY, "does not fit|u2net", lambda g: {"model": "u2net"}),
    (SURGERY, "cannot write", lambda g: {"save_dir": g.checkpoint}),
    ("deploy/build_archive.py", "cannot write", lambda g: {"output_dir": g.checkpoint}),
    (CLIENT, "no server answers", lambda g: {"input": "input_images"}),
    (CLIENT, "no photographs in", lambda g: {"input": g.write("empty/a.txt").parent}),
    (CLIENT, "would replace the photograph", lambda g: {"input": pngs(g, "a.png")[0], "output": g.folder / "a.png"}),
    (CLIENT, "two photographs .*a.png", lambda g: {"input": pngs(g, "x/a.png", "y/a.png")}),
    ("infer.py", "a sub-folder .*name of a result folder.*rename",
     lambda g: {"outputs": ["mask", "binary"], "image_dir": pngs(g, "p/a.png", "p/binary_any/a.png")[0].parent}),
    ("train.py", "run", lambda g: {"save_dir": g.folder / "file"}),
    ("train.py", "is not valid YAML",
     lambda g: {"options": g.write("o.yml", "name: !!python/object/apply:os.mkdir [marker]")}),
)  # fmt: skip
for number, (program, words, options) in enumerate(TOLD):
    add(program, f"told {number}, {words}", words, options)
add("train.py", "photographs of any shape and mode", "trained 4 iterations", write_odd_photos, 0)


# Disks that take nothing, or too little: what is written onto the disk, by program.
WRITERS = {
    "infer.py": lambda g, disk: pngs(g, *(f"photos/{i}.png" for i in range(30))) and {"result_dir": disk},
    "evaluate.py": lambda g, disk: {"report_dir": disk},
    "-m data.audit": lambda g, disk: {"report_dir": disk},
    "export.py": lambda g, disk: {"output": disk / "new.pth"},
    "deploy/convert_to_torchscript.py": lambda g, disk: {"output": disk / "new.pt"},
    "setup_model_weights.py": lambda g, disk: {"save_dir": disk},
    "deploy/build_archive.py": lambda g, disk: {"output_dir": disk},
    "train.py": lambda g, disk: {"save_dir": disk / "run", "logs_dir": g.folder / "logs"},
}
DISKS = {"size=32k": "No space left on device", "ro": "Read-only file system"}
for (program, writer), (disk, words) in itertools.product(WRITERS.items(), DISKS.items()):
    said = f"error: cannot write .*: {words}" + ".*--skip_existing" * ((program, disk) == ("infer.py", "size=32k"))
    add(program, f"disk {disk}", said, lambda g, w=writer, d=disk: w(g, g.mount(d)))


# An unknown option, an option that is missing and a value out of its range, for each program.

for program, flags, code, words in (
    ("train.py", "--batchSize=0", 1, "--batchSize .* at least 1"),
    ("infer.py", "--fine_height=1000000000", 1, "--fine_height .* at most 8192"),
    ("evaluate.py", "--fine_height=31", 1, "--fine_height .* at least 32"),
    ("export.py", "--output=x", 2, "required: --checkpoint_path"),
    ("setup_model_weights.py", "--model=u3net", 2, "--model: invalid choice"),
    ("train.py", "--batch=4", 2, "unrecognized arguments: --batch"),
    ("train.py", "--optimizer=sgd", 2, "--optimizer: invalid choice"),
    ("-m data.audit", "--df_path", 2, "--df_path: expected one argument"),
    ("deploy/build_archive.py", "--output_dir", 2, "--output_dir: expected one argument"),
    (CLIENT, "--input=x", 2, "required: --output"),
    (CLIENT, "--input=x --output=y", 1, "--location.*--url"),
    ("deploy/convert_to_torchscript.py", "--fine_width=many", 2, "--fine_width: invalid int value"),
    *((program, "--no_such_option", 2, "unrecognized|required") for program in (*BASE, "train.py")),
):
    TABLE.append(Row(f"{program}: {flags}", lambda g, p=program, f=flags: [*p.split(), *f.split()], code, (words,), ()))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


def faults(ended: subprocess.CompletedProcess) -> list[str]:
    """The lines in which a program said what is wrong."""
    return re.findall(
        r"(?:^|(?<=[\r\n]))(?:\S*\.py: |python -m \S+: )?(?:error: |skipped |cannot write ).*", ended.stderr
    )


def check(row: Row, ended: subprocess.CompletedProcess, folder: Path, before: dict[Path, bytes]) -> None:
    said = ended.stdout + ended.stderr
    assert "Traceback" not in said, said
    assert ended.returncode == row.code, said
    assert not re.search(r"\.py:\d+: ", said), said  # a warning with its source line
    for words in row.words:
        assert re.search(words, said, re.IGNORECASE), f"{words!r} is not in:\n{said}"
    assert row.code == 0 or faults(ended), said
    assert len([line for line in faults(ended) if "error: " in line]) <= 1, said

    after = contents(folder)
    assert {path: after.get(path) for path in before} == before, "something was lost"
    assert not (ROOT / "marker").exists(), "code from a file was run"
    for path in after.keys() - before.keys():
        assert not re.search(r"\.tmp$|\.export|\.download|\.part$", path.name), f"{path} was left over"
        if path.suffix in (".png", ".jpg"):
            Image.open(path).load()
        elif path.suffix == ".json":
            json.loads(path.read_bytes())
    for name in row.files:
        assert (folder / name).is_file(), f"{name} is missing from {sorted(after)}"


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_bad_input(row, given):
    command = row.command(given)
    before = contents(given.folder)
    check(row, run_here(*command), given.folder, before)


@pytest.mark.parametrize("name", ["infer.py: broken photos", "infer.py: results into /proc", "train.py: --batchSize=0"])
def test_programs_started_by_a_user_end_in_the_same_way(name, given):
    """What the table sees of programs within this process is what a user sees."""
    (row,) = (row for row in TABLE if row.name == name)
    command = row.command(given)
    before = contents(given.folder)
    started = run_script(*command)
    check(row, started, given.folder, before)
    here = run_here(*command)
    assert (started.returncode, faults(started)) == (here.returncode, faults(here))
