"""Bad and odd inputs: what each program makes of them, and that nothing is lost, left over or half-written.

What a module refuses is in the module's own tests; here each program is shown once that it says so in one line.
"""

import functools
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from networks.predictor import Predictor
from tests.helpers import DataSet, encoded_photo, flags_of, make_paper_dolls, run_here, small_disk, training_flags

TABLE_HEADER = "ImageId,EncodedPixels,Height,Width,ClassId\n"


@pytest.fixture(scope="module")
def few_dolls(tmp_path_factory) -> Iterator[DataSet]:
    """Three dolls. Each checkpoint is read once meanwhile: that would take most of the table's time."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Predictor, "load", functools.cache(Predictor.load))
        yield DataSet(*make_paper_dolls(tmp_path_factory.mktemp("few"), photos=3))


@pytest.fixture
def folder(tmp_path) -> Path:
    """What the table's rows name."""
    files = {
        "photos/good.jpg": encoded_photo(kind="JPEG"), "file": b"a file", "empty/a.txt": b"",
        **dict.fromkeys(("x/a.png", "y/A.png", "p/a.png", "p/Binary_any/a.png"), encoded_photo()),
        "bad/a.jpg": b"no image", "map.yml": b"[upper]", "absent.csv": f"{TABLE_HEADER}absent.jpg,1 5,9,9,1\n".encode(),
        "code.yml": b"name: !!python/object/apply:os.mkdir [marker]",
    }  # fmt: skip
    for name, content in files.items():
        write(tmp_path / name, content)
    return tmp_path


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def call(folder, few_dolls, tiny_checkpoint):
    """Runs a program with its usual options and those given, which win: call(program, flags)."""
    weights, plain = {"checkpoint_path": tiny_checkpoint}, {"device": "cpu", "precision": "fp32"}
    labelled = few_dolls._asdict()
    usual = {
        "infer.py": {"image_dir": folder / "photos", "result_dir": folder / "out"} | weights | plain,
        "evaluate.py": labelled | weights | plain,
        "-m data.audit": labelled,
        "setup_model_weights.py": {"model": "u2netp", "weights": tiny_checkpoint, "save_dir": folder / "new"},
        "deploy/build_archive.py": weights | {"output_dir": folder / "store"},
        "export.py": weights | {"output": folder / "new.pth"},
        "deploy/convert_to_torchscript.py": weights | {"output": folder / "new.pt"},
        "scripts/pseudo_label.py": weights | plain | {"image_folder": folder / "bad", "output": folder / "new.csv"},
        "scripts/prepare_empty.py": {"output_dir": folder / "new", "drawn": 0},
        "deploy/deployed_infer.py": {"input": "file", "output": folder / "out", "url": "http://127.0.0.1:9"},
    }

    def call(program: str, flags: list) -> subprocess.CompletedProcess:
        if program == "train.py":
            return run_here(program, *training_flags(few_dolls, folder / "run", iter=1), *flags)
        return run_here(*program.split(), *flags_of(usual.get(program, {})), *flags)

    return call


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


def check(ended: subprocess.CompletedProcess, code: int, words: tuple[str, ...], folder: Path, before: dict) -> None:
    """It ended as expected with at most one line of error, said the words (patterns), lost and left over nothing."""
    said = ended.stdout + ended.stderr
    assert "Traceback" not in said and ended.returncode == code, said
    for each in words:
        assert re.search(each, said, re.IGNORECASE), f"{each!r} is not in:\n{said}"
    assert len(re.findall(r"^(?:\S*\.py: |python -m \S+: )?error: ", ended.stderr, re.MULTILINE)) <= 1, said
    after = contents(folder)
    assert {path: after.get(path) for path in before} == before, "something was lost"
    for path in after.keys() - before.keys():
        assert not re.search(r"\.tmp(/|$)|\.part$", path.as_posix()), f"{path} was left over"
        if path.suffix in (".png", ".jpg"):
            Image.open(path).load()
        elif path.suffix == ".json":
            json.loads(path.read_bytes())


NO_FOLDER, CLIENT = "cannot write .*: Not a directory", "deploy/deployed_infer.py"
NO_IMAGE = "error: .*: not an image .*another photo"
TABLE = (  # program, flags in the folder {f}, pattern of what it says
    *((program, f"--{option} {{f}}/none.pth", r"error: there (is|are) no .*none\.pth") for program, option in (
        ("infer.py", "checkpoint_path"), ("evaluate.py", "checkpoint_path"), ("export.py", "checkpoint_path"),
        ("deploy/convert_to_torchscript.py", "checkpoint_path"), ("deploy/build_archive.py", "checkpoint_path"),
        ("setup_model_weights.py", "weights"), ("train.py", "continue_train --unet_checkpoint"),
    )),
    *((program, "--df_path {f}/none.csv", "error: no label table at .*none.csv")
      for program in ("evaluate.py", "train.py", "-m data.audit")),
    *((program, "--class_map {f}/map.yml", "error: .*must map")
      for program in ("evaluate.py", "train.py", "-m data.audit", "setup_model_weights.py")),
    ("train.py", "--val_df_path {f}/absent.csv --val_image_folder {f}/photos", "nothing usable.*missing photo"),
    ("train.py", "--save_dir {f}/file", "error: "), ("train.py", "--options {f}/code.yml", "is not valid YAML"),
    ("train.py", "--batchSize=0", "--batchSize .* at least 1"),
    ("infer.py", "--image_dir {f}/file", "skipped .*file: not an image"),
    ("infer.py", "--result_dir {f}/" + "x" * 300, "cannot write into .*: File name too long"),
    ("infer.py", "--result_dir /proc/out", "cannot write into /proc/out: "),
    ("infer.py", "--outputs mask binary --image_dir {f}/p", "a sub-folder .*name of a result folder.*rename"),
    ("evaluate.py", "--report_dir {f}/file/x", NO_FOLDER), ("evaluate.py", "--json {f}/file/x.json", NO_FOLDER),
    ("-m data.audit", "--report_dir {f}/file", NO_FOLDER), ("-m data.audit", "--against_df_path a.csv", "--against_"),
    ("export.py", "--output {f}/file/new.pth", NO_FOLDER),
    ("setup_model_weights.py", "--model u2net", "does not fit"),
    ("setup_model_weights.py", "--save_dir {f}/file", "cannot write"),
    ("deploy/build_archive.py", "--output_dir {f}/file", "cannot write"),
    (CLIENT, "--input input_images", "no server answers"), (CLIENT, "--input {f}/empty", "no photographs in"),
    (CLIENT, "--input {f}/x/a.png --output {f}/x/A.png", "would replace the photograph"),
    (CLIENT, "--input {f}/x/a.png {f}/y/A.png", "two photographs .*a.png"),
    (CLIENT, "--input {f}/x/a.png --output {f}/x", "same folder"),
    *(("evaluate.py", f"--json {{f}}/{name}", "does not end in .json") for name in ("photos", "map.yml")),
    ("scripts/pseudo_label.py", "", "error: none of the 1 photographs"),
    ("scripts/prepare_empty.py", "--pictures {f}/bad", "error: nothing to write: --drawn 0, and 0 of 1 pictures"),
    ("-m benchmarks.data", "--photo {f}/file", NO_IMAGE), ("-m benchmarks.data", "--sizes 9x9", "--sizes 9x9"),
    ("-m benchmarks.folder", "--photos {f}/bad", NO_IMAGE), ("-m benchmarks.serving", "--photo {f}/file", NO_IMAGE),
    ("-m benchmarks.inference", "--way torch", "--way needs --checkpoint"),
    ("-m benchmarks.agnostic", "--agnostic_margin 2", "2 is not a margin"),
)  # fmt: skip


@pytest.mark.parametrize(("program", "flags", "words"), TABLE)
def test_a_mistake_is_one_line_and_changes_no_file(program, flags, words, call, folder):
    before = contents(folder)
    check(call(program, flags.format(f=folder).split()), 1, (words,), folder, before)


def test_an_option_that_is_unknown_or_shortened_is_a_usage_error(call):
    for program in ("train.py", "infer.py", "deploy/build_archive.py"):
        ended = call(program, ["--batch=4"])
        assert ended.returncode == 2 and "unrecognized arguments: --batch" in ended.stderr


# Disks that are full: what is written onto the disk {d}, by program.
WRITERS = {
    "infer.py": "--result_dir {d}", "evaluate.py": "--report_dir {d}", "-m data.audit": "--report_dir {d}",
    "export.py": "--output {d}/new.xml", "deploy/convert_to_torchscript.py": "--output {d}/new.pt",
    "setup_model_weights.py": "--save_dir {d}", "deploy/build_archive.py": "--output_dir {d}",
    "train.py": "--save_dir {d}/run --logs_dir {f}/logs", "scripts/prepare_empty.py": "--output_dir {d}/new --drawn 30",
}  # fmt: skip


@pytest.mark.parametrize("program", WRITERS)
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(program, call, folder):
    for i in range(30):
        write(folder / f"photos/{i}.png", encoded_photo())
    before = contents(folder)
    with small_disk(folder / "disk", "32k") as disk:
        ended = call(program, WRITERS[program].format(d=disk, f=folder).split())
        words = "error: cannot write .*(: No space left on device|; is the disk full)"
        words += ".*--skip_existing" * (program == "infer.py")
        check(ended, 1, (words,), folder, before)


# Photographs: a good one lies beside each, which is segmented whatever happens.


BROKEN = {
    "empty.jpg": b"", "cut.jpg": encoded_photo(200, 200, "JPEG", noise=True)[:3000], "text.jpg": b"no image",
    "zeros.bmp": bytes(5000), "bomb.jpg": b"P5 60000 60000 255\n", "page.png": b"<!DOCTYPE html><html>404</html>",
    "two\nlines.jpg": b"", os.fsdecode(b"\xff.jpg"): b"",
}  # fmt: skip
ODD = {
    "one.png": encoded_photo(1, 1), "narrow.png": encoded_photo(1, 20_000), "low.png": encoded_photo(20_000, 1),
    "png.jpg": encoded_photo(), "capitals.JPG": encoded_photo(kind="JPEG"),
    "moving.gif": encoded_photo(32, 24, "GIF", save_all=True, append_images=[Image.new("RGB", (32, 24))]),
    "exif.jpg": encoded_photo(kind="JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"),
    **dict.fromkeys(
        (
            "läuft 服 한국 عربى 👗.jpg", "a\nb.jpg", os.fsdecode(b"\xff\xfe.jpg"), "x" * 251 + ".jpg",
            "é" * 125 + "x.jpg", " --help '\"$(x).jpg", "a.b..c.jpg", "/".join("abcdefghij") + "/a.jpg",
            "-rf.jpg", "*.jpg", "tab\t.jpg", "CON.jpg", "same/a.jpeg", "same/b.jpg.jpg",
        ),
        encoded_photo(kind="JPEG"),
    ),
}  # fmt: skip


def test_broken_photos_are_named_and_the_others_segmented(call, folder):
    for name, content in BROKEN.items():
        write(folder / "photos" / name, content)
    before = contents(folder)
    named = (
        rf"skipped .*{re.escape(repr(name)[1:-1])}: (not an image|the file is empty|broken|3600 megapixels)"
        for name in BROKEN
    )
    check(call("infer.py", []), 1, (f"1 of {1 + len(BROKEN)} photographs", *named), folder, before)
    assert (folder / "out/good.png").is_file()


def test_photos_of_odd_names_and_forms_are_segmented(call, folder):
    for name, content in ODD.items():
        write(folder / "photos" / name, content)
    before = contents(folder)
    check(call("infer.py", []), 0, (), folder, before)
    results = {path for path in (folder / "out").rglob("*") if path.is_file()}
    assert results == {folder / "out" / Path(name).with_suffix(".png") for name in (*ODD, "good.jpg")}


def test_photographs_of_any_shape_and_mode_can_be_trained_on(call, folder):
    rows = TABLE_HEADER
    for mode, width, height in (
        ("RGB", 1, 1), ("L", 700, 7), ("CMYK", 2, 900), ("RGBA", 40, 30), ("I;16", 40, 30), ("P", 40, 30), ("1", 9, 9),
    ):  # fmt: skip
        name = f"{mode.replace(';', '_')}.tif"
        Image.new("RGB", (width, height)).convert("L").convert(mode).save(folder / "photos" / name)
        rows += f"{name},1 {width * height},{height},{width},0\n"
    table = write(folder / "rows.csv", rows.encode())
    flags = ["--image_folder", folder / "photos", "--df_path", table, "--iter", 4, "--augment", "full"]
    check(call("train.py", flags), 0, ("trained 4 iterations",), folder, contents(folder))
