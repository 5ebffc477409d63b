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
    words: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


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
    yield given
    for path in given.mounts:
        subprocess.run(["umount", "--lazy", str(path)], check=True)  # a run holds its folder open


# The programs, each with what it needs; ``changes`` are other values of options.

EXPORTS = {"export.py": "new.pth", "deploy/convert_to_torchscript.py": "new.pt"}


def infer_flags(given: Given, **changes) -> list:
    options = {
        "checkpoint_path": given.checkpoint, "image_dir": given.folder / "photos", "result_dir": given.folder / "out",
        "device": "cpu", "precision": "fp32", **changes,
    }  # fmt: skip
    return ["infer.py", *flags_of(options)]


def evaluate_flags(given: Given, **changes) -> list:
    return audit_flags(
        given, "evaluate.py", **{"checkpoint_path": given.checkpoint, "device": "cpu", "precision": "fp32", **changes}
    )


def audit_flags(given: Given, *program: str, **changes) -> list:
    options = {"image_folder": given.dolls.image_folder, "df_path": given.dolls.df_path, **changes}
    return [*(program or ("-m", "data.audit")), *flags_of(options)]


def train_flags(given: Given, disk: Path | None = None, **changes) -> list:
    return ["train.py", *training_flags(given.dolls, (disk or given.folder) / "run", **{"iter": 1, **changes})]


def surgery_flags(given: Given, **changes) -> list:
    options = {"model": "u2netp", "weights": given.checkpoint, "save_dir": given.folder / "new", **changes}
    return ["setup_model_weights.py", *flags_of(options)]


def archive_flags(given: Given, **changes) -> list:
    options = {"checkpoint_path": given.checkpoint, "output_dir": given.folder / "store", **changes}
    return ["deploy/build_archive.py", *flags_of(options)]


def export_flags(given: Given, program: str = "export.py", **changes) -> list:
    options = {"checkpoint_path": given.checkpoint, "output": given.folder / EXPORTS[program], **changes}
    return [program, *flags_of(options)]


def client_flags(given: Given, **changes) -> list:
    options = {"input": "input_images", "output": given.folder / "out", "url": "http://127.0.0.1:9", **changes}
    return ["deploy/deployed_infer.py", *flags_of(options)]


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


def photos(name: str, files: dict[str, bytes], code: int, *words: str, masks: tuple[str, ...] = ()) -> None:
    """A row of infer.py with photographs."""

    def command(given: Given) -> list:
        for file, content in {"good.jpg": encoded("JPEG"), **files}.items():
            given.write(f"photos/{file}", content)
        return infer_flags(given)

    TABLE.append(Row(f"photo: {name}", command, code, words, ("out/good.png", *masks)))


photos(
    "broken ones", BROKEN, 1, f"1 of {1 + len(BROKEN)} photographs",
    "3600 megapixels are over the limit of", r"text\.jpg: not an image", r"cut\.jpg: broken",
    *(rf"skipped .*{re.escape(repr(name)[1:-1])}: (not an image|broken|3600)" for name in BROKEN),
)  # fmt: skip
photos("odd names and forms", ODD, 0, masks=tuple(f"out/{Path(name).with_suffix('.png')}" for name in ODD))


def links(given: Given) -> list:
    folder = given.write("photos/good.jpg", encoded("JPEG")).parent
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    (folder / "linked.jpg").symlink_to(given.write("elsewhere.jpg", encoded("JPEG")))
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.jpg")
    return infer_flags(given)


TABLE.append(Row("photo: links, a loop, a pipe", links, 1, (r"gone\.jpg: no such file", "2 of 3"), ("out/linked.png",)))


# Where photographs are, and where results go.


def places(name: str, code: int, *words: str, files: tuple[str, ...] = (), **changes) -> None:
    """A row of infer.py with one good photograph; names in ``changes`` that begin with ./ are below its folder."""

    def command(given: Given) -> list:
        for path, content in {"photos/good.jpg": encoded("JPEG"), "file": "a file"}.items():
            given.write(path, content)
        below = {k: f"{given.folder}{v[1:]}" if str(v).startswith("./") else v for k, v in changes.items()}
        return infer_flags(given, **below)

    TABLE.append(Row(f"infer.py: {name}", command, code, words, files))


places("a single file that is not one", 1, "skipped .*file: not an image", "0 of 1", image_dir="./file")
places("results into the folder written otherwise", 1, "same folder", result_dir="./photos/../photos/")
places("results below the folder", 0, files=("photos/results/good.png",), result_dir="./photos/results")
places("results above the folder", 0, files=("good.png",), result_dir="./.")
places("results into too long a name", 1, "cannot write into .*: File name too long", result_dir="./" + "x" * 300)
places("results into /proc", 1, "cannot write into /proc/out: ", result_dir="/proc/out")
places("background as a category", 1, "--category background: .*any, upper", category=["upper", "background"])
places("what is asked for twice", 0, files=("out/good.png",), outputs=["mask", "mask"], category=["any", "any"])


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


def file(name: str, files: dict, program: str, command: Callable[..., list], option: str, **more) -> None:
    """Rows for files of every kind of a table above, given to a program by an option."""
    for kind, (content, words) in files.items():

        def made(given: Given, content=content) -> list:
            if content is not None:
                given.write(name, content)
            given.write("photos/good.jpg", encoded("JPEG"))
            return command(given, **{option: given.folder / name, **more})

        if (kind, option) not in STARTS:
            TABLE.append(Row(f"{program}: {option} {name}, {kind}", made, 1, (words,)))


# Saliency weights are what surgery and training start from.
STARTS = {("saliency weights", "weights"), ("saliency weights", "unet_checkpoint")}
for program, make in {
    "infer.py": infer_flags, "evaluate.py": evaluate_flags, "build_archive.py": archive_flags,
    **{program: functools.partial(export_flags, program=program) for program in EXPORTS},
}.items():  # fmt: skip
    file("w.pth", WEIGHTS, program, make, "checkpoint_path")
file("w.pth", WEIGHTS, "setup_model_weights.py", surgery_flags, "weights")
file("w.pth", WEIGHTS, "train.py", train_flags, "unet_checkpoint", continue_train=True)
file("map.yml", CLASS_MAPS, "setup_model_weights.py", surgery_flags, "class_map")
file("table.csv", TABLES, "train.py", train_flags, "val_df_path", val_image_folder="input_images")
for program, make in {"evaluate.py": evaluate_flags, "train.py": train_flags, "data.audit": audit_flags}.items():
    file("table.csv", TABLES, program, make, "df_path")
    file("map.yml", CLASS_MAPS, program, make, "class_map")
    TABLE.append(Row(f"{program}: no photos", lambda g, make=make: make(g, image_folder="absent"), 1, ("absent",)))


# What else the programs are told.


def train_on_odd_photos(given: Given) -> list:
    rows = "ImageId,EncodedPixels,Height,Width,ClassId\n"
    for mode, width, height in (
        ("RGB", 1, 1), ("L", 700, 7), ("CMYK", 2, 900), ("RGBA", 40, 30), ("I;16", 40, 30), ("P", 40, 30), ("1", 9, 9),
    ):  # fmt: skip
        name = f"{mode.replace(';', '_')}.tif"
        given.write(f"photos/{name}", encoded("TIFF", Image.new("RGB", (width, height)).convert("L").convert(mode)))
        rows += f"{name},1 {width * height},{height},{width},0\n"
    df_path = given.write("rows.csv", rows)
    return train_flags(given, image_folder=given.folder / "photos", df_path=df_path, iter=4, augment="full")


for name, words, command in (
    ("evaluate.py: a report below a file", "cannot write into .*Not a directory",
     lambda g: evaluate_flags(g, checkpoint_path="absent.pth", report_dir=g.write("file") / "x")),
    ("evaluate.py: figures below a file", "cannot write into .*Not a directory",
     lambda g: evaluate_flags(g, checkpoint_path="absent.pth", json=g.write("file") / "x")),
    ("data.audit: a report into a file", "cannot write .*: Not a", lambda g: audit_flags(g, report_dir=g.write("f"))),
    ("data.audit: half a second table", "--against_", lambda g: audit_flags(g, against_df_path=g.dolls.df_path)),
    ("export.py: below a file", "cannot write .*: Not a dir", lambda g: export_flags(g, output=g.write("f") / "a.pth")),
    ("setup_model_weights.py: the other network", "does not fit|u2net", lambda g: surgery_flags(g, model="u2net")),
    ("setup_model_weights.py: a file as folder", "cannot write", lambda g: surgery_flags(g, save_dir=g.checkpoint)),
    ("build_archive.py: a file as folder", "cannot write", lambda g: archive_flags(g, output_dir=g.checkpoint)),
    ("deployed_infer.py: no endpoint", "--location.*--url", lambda g: client_flags(g, url=None)),
    ("deployed_infer.py: nobody listens", "no server answers", client_flags),
    ("deployed_infer.py: no photographs", "no photographs in", lambda g: client_flags(g, input=g.folder)),
    ("deployed_infer.py: a result that would replace the photograph", "would replace the photograph",
     lambda g: client_flags(g, input=g.write("a.png", encoded("PNG")), output=g.folder / "a.png")),
    ("deployed_infer.py: two photographs of one name", "two photographs .*a.png",
     lambda g: client_flags(g, input=[g.write(f"{folder}/a.png", encoded("PNG")) for folder in "xy"])),
    ("infer.py: a sub-folder named like a result folder", "a sub-folder .*name of a result folder.*rename",
     lambda g: infer_flags(
         g, image_dir=[g.write(f"p/{name}", encoded("JPEG")) for name in ("a.jpg", "binary_any/a.jpg")][0].parent,
         outputs=["mask", "binary"])),
    ("train.py: a run folder that is a file", "run", lambda g: train_flags(g, g.write("run").parent)),
    ("train.py: options that run code", "is not valid YAML",
     lambda g: train_flags(g, options=g.write("o.yml", "name: !!python/object/apply:os.mkdir [marker]"))),
):  # fmt: skip
    TABLE.append(Row(name, command, 1, (words,)))
TABLE.append(Row("train.py: photographs of any shape and mode", train_on_odd_photos, 0, ("trained 4 iterations",)))


# Disks that take nothing, or too little.


def infer_onto(given: Given, disk: Path) -> list:
    for i in range(20):
        given.write(f"photos/{i}.png", encoded("PNG", noise(64, 64)))
    return infer_flags(given, result_dir=disk, outputs=["cutout"])


# What is written onto the disk, by program.
WRITERS = {
    "infer.py": infer_onto,
    "evaluate.py": lambda g, disk: evaluate_flags(g, report_dir=disk),
    "data.audit": lambda g, disk: audit_flags(g, report_dir=disk),
    "export.py": lambda g, disk: export_flags(g, output=disk / "new.pth"),
    "convert_to_torchscript.py": lambda g, disk: export_flags(g, [*EXPORTS][1], output=disk / "new.pt"),
    "setup_model_weights.py": lambda g, disk: surgery_flags(g, save_dir=disk),
    "build_archive.py": lambda g, disk: archive_flags(g, output_dir=disk),
    "train.py": lambda g, disk: train_flags(g, disk, logs_dir=g.folder / "logs"),
}
DISKS = {"size=32k": "No space left on device", "ro": "Read-only file system"}
for (program, writer), (disk, words) in itertools.product(WRITERS.items(), DISKS.items()):
    said = f"error: cannot write .*: {words}" + ".*--skip_existing" * ((program, disk) == ("infer.py", "size=32k"))
    TABLE.append(Row(f"{program}: {disk}", lambda g, w=writer, d=disk: w(g, g.mount(d)), 1, (said,)))


# An unknown option, an option that is missing and a value out of its range, for each program.

for program, wrong, code, words in (
    ("train.py", "--batchSize=0", 1, "--batchSize .* at least 1"),
    ("infer.py", "--fine_height=1000000000", 1, "--fine_height .* at most 8192"),
    ("evaluate.py", "--fine_height=31", 1, "--fine_height .* at least 32"),
    ("export.py", "--output=x", 2, "required: --checkpoint_path"),
    ("setup_model_weights.py", "--model=u3net", 2, "--model: invalid choice"),
    ("train.py", "--batch=4", 2, "unrecognized arguments: --batch"),
    ("train.py", "--optimizer=sgd", 2, "--optimizer: invalid choice"),
    ("-m data.audit", "--df_path", 2, "--df_path: expected one argument"),
    ("deploy/build_archive.py", "--output_dir", 2, "--output_dir: expected one argument"),
    ("deploy/deployed_infer.py", "--input=x", 2, "required: --output"),
    ("deploy/convert_to_torchscript.py", "--fine_width=many", 2, "--fine_width: invalid int value"),
):
    for flag, ended, said in ((wrong, code, words), ("--no_such_option", 2, "unrecognized|required")):
        TABLE.append(Row(f"{program}: {flag}", lambda g, p=program, f=flag: [*p.split(), f], ended, (said,)))


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


@pytest.mark.parametrize("name", ["photo: broken ones", "infer.py: results into /proc", "train.py: --batchSize=0"])
def test_programs_started_by_a_user_end_in_the_same_way(name, given):
    """What the table sees of programs within this process is what a user sees."""
    (row,) = (row for row in TABLE if row.name == name)
    command = row.command(given)
    before = contents(given.folder)
    started = run_script(*command)
    check(row, started, given.folder, before)
    here = run_here(*command)
    assert (started.returncode, faults(started)) == (here.returncode, faults(here))
