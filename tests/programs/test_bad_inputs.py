"""The table of bad and odd inputs: what each program makes of it, and that nothing is lost, left over or half-written.

A row says how to make an input and which command gets it, then the exit code, what the output says (patterns, in any
case of letters) and which files are there in the end.
"""

import io
import json
import os
import pickle
import re
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import infer
from networks.predictor import Predictor
from networks.u2net import build_network
from options.base_options import option
from options.deploy_options import ArchiveOptions, ClientOptions
from options.evaluate_options import EvaluateOptions
from options.export_options import ExportOptions, TorchScriptOptions
from options.infer_options import InferOptions
from options.setup_options import SetupOptions
from options.train_options import TrainOptions
from scripts.audit_data import AuditOptions
from tests.helpers import DataSet, flags_of, make_paper_dolls, run_here, run_script, training_flags

HEADER = "ImageId,EncodedPixels,Height,Width,ClassId\n"


@dataclass
class Given:
    """What a row can use. folder: empty, and its own. checkpoint, state: of a four-class U2NETP that sees 64x64."""

    folder: Path
    checkpoint: Path
    state: dict[str, torch.Tensor]
    dolls: DataSet
    mounts: list[Path] = field(default_factory=list)

    def write(self, name: str, content: bytes | str = b"") -> Path:
        """A file below the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def mount(self, name: str, settings: str) -> Path:
        """A file system of its own below the folder; the test is skipped where that is not allowed."""
        path = self.folder / name
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", settings, "tmpfs", str(path)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("needs the right to mount a file system")
        self.mounts.append(path)
        return path


@dataclass
class Row:
    """command: makes the input and returns the program and its arguments. files: below the folder, in the end."""

    name: str
    command: Callable[[Given], list]
    code: int
    words: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


TABLE: list[Row] = []


def row(name: str, code: int, *words: str, files: tuple[str, ...] = ()):
    """Put a function that makes a row's input and command into the table."""

    def add(command: Callable[[Given], list]) -> Callable[[Given], list]:
        TABLE.append(Row(name, command, code, words, files))
        return command

    return add


@pytest.fixture(scope="module")
def state(tiny_checkpoint) -> dict[str, torch.Tensor]:
    return torch.load(tiny_checkpoint, weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def few_dolls(tmp_path_factory) -> DataSet:
    return DataSet(*make_paper_dolls(tmp_path_factory.mktemp("few"), photos=3))


@pytest.fixture(scope="module", autouse=True)
def quick_checkpoint(tiny_checkpoint) -> Iterator[None]:
    """Reads the checkpoint that most rows use once for all: that would take most of the table's time."""
    load = Predictor.load
    usual = InferOptions(checkpoint_path=str(tiny_checkpoint), device="cpu", precision="fp32").predictor
    predictor = load(**usual)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Predictor, "load", lambda **given: predictor if given == usual else load(**given))
        yield


@pytest.fixture
def given(tmp_path, tiny_checkpoint, state, few_dolls) -> Iterator[Given]:
    given = Given(tmp_path, tiny_checkpoint, state, few_dolls)
    yield given
    for path in given.mounts:
        subprocess.run(["umount", str(path)], check=True)


# ---------------------------------------------------------------------------------------------------------------------
# Photographs: each lies beside a good one, which is segmented whatever happens to it.


def noise(height: int = 24, width: int = 32) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(form: str, image: Image.Image | None = None, **settings) -> bytes:
    buffer = io.BytesIO()
    (image or noise()).save(buffer, form, **settings)
    return buffer.getvalue()


def png(width: int, height: int, *extra: tuple[bytes, bytes], pixels: bytes = b"") -> bytes:
    """A greyscale PNG with chunks (type, content) of one's own."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    chunks = [header, *extra, (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(c)) + t + c + struct.pack(">I", zlib.crc32(t + c)) for t, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def infer_flags(given: Given, **changes) -> list:
    options = {
        "checkpoint_path": given.checkpoint, "image_dir": given.folder / "photos", "result_dir": given.folder / "out",
        "device": "cpu", "precision": "fp32", **changes,
    }  # fmt: skip
    return ["infer.py", *flags_of(options)]


def beside_a_good_photo(make: Callable[[Given], object], **changes) -> Callable[[Given], list]:
    def command(given: Given) -> list:
        given.write("photos/good.jpg", encoded("JPEG"))
        make(given)
        return infer_flags(given, **changes)

    return command


def photo(name: str, file: str, content: bytes, code: int, *words: str, **changes) -> None:
    """A row for a photograph; one that is fine has a mask in the end."""
    mask = (f"out/{Path(file).with_suffix('.png')}",) if code == 0 else ()
    made = beside_a_good_photo(lambda given: given.write(f"photos/{file}", content), **changes)
    TABLE.append(Row(f"photo: {name}", made, code, words, ("out/good.png", *mask)))


NOT_READ = r"skipped .*: (not an image|broken)"
photo("zero bytes", "a.jpg", b"", 1, NOT_READ, "1 of 2 photographs")
photo("a truncated JPEG", "a.jpg", encoded("JPEG", noise(200, 200))[:3000], 1, r"a\.jpg: broken")
photo("a JPEG cut within its header", "a.jpg", encoded("JPEG")[:30], 1, NOT_READ)
photo("a truncated PNG", "a.png", encoded("PNG", noise(200, 200))[:3000], 1, r"a\.png: broken")
photo("a truncated WebP", "a.webp", encoded("WEBP", noise(200, 200))[:300], 1, NOT_READ)
photo("a truncated TIFF", "a.tif", encoded("TIFF")[:100], 1, NOT_READ)
photo("text named .jpg", "a.jpg", b"no image", 1, r"a\.jpg: not an image")
photo("a web page named .png", "a.png", b"<!DOCTYPE html><html>404</html>", 1, r"a\.png: not an image")
photo("a PDF named .jpg", "a.jpg", b"%PDF-1.7\n%%EOF", 1, r"a\.jpg: not an image")
photo("a pointer to Git LFS", "a.png", b"version https://git-lfs.github.com/spec/v1\n", 1, r"a\.png: not an image")
photo("random bytes", "a.webp", np.random.default_rng(0).bytes(5000), 1, r"a\.webp: not an image")
photo("zeros", "a.bmp", bytes(5000), 1, NOT_READ)
photo("a decompression bomb", "a.png", png(60_000, 60_000), 1, "3600 megapixels are over the limit of 100")
photo("a larger one than --max_megapixels", "a.png", png(40, 40), 1, "over the limit of 0.001", max_megapixels=0.001)
TABLE[-1].files = ()  # the good one is over that limit as well
photo("no size", "a.png", png(0, 0), 1, NOT_READ)
photo("a PNG without pixels", "a.png", png(9, 9), 1, NOT_READ)
photo("one pixel", "a.png", encoded("PNG", noise(1, 1)), 0, "2 of 2 photographs")
photo("one pixel wide", "a.png", encoded("PNG", noise(20_000, 1)), 0)
photo("one pixel high", "a.png", encoded("PNG", noise(1, 20_000)), 0)
photo("a PNG named .jpg", "a.jpg", encoded("PNG"), 0)
photo("a moving picture", "a.gif", encoded("GIF", save_all=True, append_images=[noise(), noise()]), 0)
photo("a suffix in capitals", "a.JPG", encoded("JPEG"), 0)
photo("letters of many scripts", "läuft 服 한국 عربى 👗.jpg", encoded("JPEG"), 0)
photo("a line break in its name", "two\nlines.jpg", encoded("JPEG"), 0)
photo(
    "a broken file with a line break in its name", "two\nlines.jpg", b"no image", 1, r"skipped .*two\\nlines\.jpg: not"
)
photo("a name that is not text", os.fsdecode(b"\xff\xfe.jpg"), encoded("JPEG"), 0)
photo("a broken file whose name is not text", os.fsdecode(b"\xff.jpg"), b"", 1, r"skipped .*\\udcff\.jpg: not")
photo("a name of 255 bytes", "x" * 251 + ".jpg", encoded("JPEG"), 0)
photo("a name of 255 bytes in two-byte letters", "é" * 125 + "x.jpg", encoded("JPEG"), 0)
photo("spaces, quotes and dashes", " --help '\"$(x).jpg", encoded("JPEG"), 0)
photo("dots in its name", "a.b..c.jpg", encoded("JPEG"), 0)
photo("a hidden broken file", ".hidden.jpg", b"no image", 0, "1 of 1 photographs")
TABLE[-1].files = ("out/good.png",)
photo("a deep folder", "/".join("abcdefghij") + "/a.jpg", encoded("JPEG"), 0)
photo(
    "compressed text that is large", "a.png",
    png(8, 8, (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(5_000_000))), pixels=bytes(9 * 8)), 0,
)  # fmt: skip
photo("broken EXIF", "a.jpg", encoded("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"), 0)
for suffix in (".pdf", ".h5", ".mpg", ".txt", ".heic.part"):
    photo(f"a {suffix} file", f"a{suffix}", b"something else", 0, rf"other files, ignored.*1 {Path(suffix).suffix}")
    TABLE[-1].files = ("out/good.png",)


@row("photo: a folder named like one", 0, "2 of 2 photographs", files=("out/good.png", "out/folder.png/b.png"))
@beside_a_good_photo
def _(given):
    given.write("photos/folder.png/b.jpg", encoded("JPEG"))


@row("photo: a dangling link", 1, r"gone\.jpg: no such file", files=("out/good.png",))
@beside_a_good_photo
def _(given):
    (given.folder / "photos/gone.jpg").symlink_to("nowhere.jpg")


@row("photo: a link to a file elsewhere", 0, files=("out/good.png", "out/linked.png"))
@beside_a_good_photo
def _(given):
    (given.folder / "photos/linked.jpg").symlink_to(given.write("elsewhere.jpg", encoded("JPEG")))


@row("photo: a folder that links to itself", 0, "1 of 1 photographs", files=("out/good.png",))
@beside_a_good_photo
def _(given):
    (given.folder / "photos/loop").symlink_to(given.folder / "photos")


@row("photo: a pipe", 0, "1 of 1 photographs", files=("out/good.png",))
@beside_a_good_photo
def _(given):
    os.mkfifo(given.folder / "photos/pipe.jpg")


@row("photo: one that may not be read", 1, "Permission denied", files=("out/good.png",))
@beside_a_good_photo
def _(given):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    given.write("photos/secret.jpg", encoded("JPEG")).chmod(0)


@row(
    "photo: a name that leaves no room for .json", 1, r"\.json: File name too long", "1 of 2 photographs",
    files=("out/good.png", "out/json_any/good.json", f"out/{'x' * 251}.png"),
)  # fmt: skip
def _(given):
    given.write("photos/good.jpg", encoded("JPEG"))
    given.write(f"photos/{'x' * 251}.jpg", encoded("JPEG"))
    return infer_flags(given, outputs=["mask", "json"])


# ---------------------------------------------------------------------------------------------------------------------
# Where photographs are, and where results go.


def places(name: str, code: int, *words: str, files: tuple[str, ...] = (), **changes) -> None:
    """A row of infer.py with one good photograph; names in ``changes`` that begin with ./ are below its folder."""

    def command(given: Given) -> list:
        given.write("photos/good.jpg", encoded("JPEG"))
        given.write("empty/.hidden.jpg", encoded("JPEG"))
        given.write("words/a.txt", "no image")
        given.write("file", "a file")
        (given.folder / "link").symlink_to("photos")
        below = {
            option: f"{given.folder}{value[1:]}" if isinstance(value, str) and value.startswith("./") else value
            for option, value in changes.items()
        }
        return infer_flags(given, **below)

    TABLE.append(Row(f"infer.py: {name}", command, code, words, files))


places("no such folder", 1, "there is no folder .*absent", image_dir="./absent")
places("an empty folder", 1, "no photographs in .*empty", image_dir="./empty")
places("a folder of other files", 1, "no photographs in .*words", image_dir="./words")
places("a single photograph", 0, "1 of 1 photographs", files=("out/good.png",), image_dir="./photos/good.jpg")
places("a single file that is not one", 1, "skipped .*file: not an image", "0 of 1", image_dir="./file")
places(
    "a single photograph into its own folder", 1, "same folder", image_dir="./photos/good.jpg", result_dir="./photos"
)
places("results into the folder itself", 1, "same folder", result_dir="./photos")
places("results into the folder written otherwise", 1, "same folder", result_dir="./photos/../photos/")
places("results into a link to the folder", 1, "same folder", result_dir="./link")
places("results below the folder", 0, files=("photos/results/good.png",), result_dir="./photos/results")
places("results above the folder", 0, files=("good.png",), result_dir="./.")
places("results into a file", 1, "cannot write into .*file: Not a directory", result_dir="./file")
places("results below a file", 1, "cannot write into .*: Not a directory", result_dir="./file/out")
places("results into too long a name", 1, "cannot write into .*: File name too long", result_dir="./" + "x" * 300)
places("results into /proc", 1, "cannot write into /proc/out: ", result_dir="/proc/out")
places("an unknown category", 1, "--category hat: this checkpoint knows any, upper, lower, full", category=["hat"])
places("a category and a typo", 1, "--category uper", category=["upper", "uper"])
places("background as a category", 1, "--category background", category=["background"])
places("a category twice", 0, files=("out/mask_upper/good.png",), category=["upper", "upper"])
places("an output twice", 0, files=("out/good.png",), outputs=["mask", "mask"])
places("every output there is", 0, files=("out/labels_any/good.png",), outputs=["mask", "labels", "cutout", "json"])
places("a device that no one has", 1, "unknown device 'gpu'", device="gpu")
places("a graphics card that is not there", 1, "--device cuda:99: ", device="cuda:99")
places("an input size beyond the largest network input", 1, "--fine_height .* at most 8192", fine_height=10**9)


@row("infer.py: a result that would replace a photograph", 1, "would replace the photograph .*a.png")
def _(given):
    given.write("binary_any/a.png", encoded("PNG"))
    return infer_flags(given, image_dir=given.folder / "binary_any", result_dir=given.folder, outputs=["binary"])


@row("infer.py: a sub-folder named like a result folder", 1, "a sub-folder .*name of a result folder.*rename")
def _(given):
    given.write("photos/a.jpg", encoded("JPEG"))
    given.write("photos/binary_any/a.jpg", encoded("JPEG"))
    return infer_flags(given, outputs=["mask", "binary"])


@row("infer.py: a folder where a result should go", 1, "good.png: Is a directory", files=("out/json_any/good.json",))
def _(given):
    given.write("photos/good.jpg", encoded("JPEG"))
    (given.folder / "out/good.png").mkdir(parents=True)
    return infer_flags(given, outputs=["mask", "json"])


# ---------------------------------------------------------------------------------------------------------------------
# Weight files.


class Malicious:
    """What a pickle can do: run any code when it is read."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def saved(path: Path, state: dict, **description) -> None:
    torch.save({"state_dict": state, "class_names": None, "height": 64, "width": 64, **description}, path)


def torchscript(given: Given, path: Path) -> None:
    class Double(torch.nn.Module):
        def forward(self, x):
            return 2 * x

    torch.jit.save(torch.jit.script(Double()), path)


def other_onnx(given: Given, path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    tensor = onnx.helper.make_tensor_value_info("x", 1, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [tensor], [tensor])
    graph.output[0].name = "y"
    onnx.save(onnx.helper.make_model(graph), str(path))


def unpacked(given: Given, path: Path) -> None:
    with zipfile.ZipFile(given.checkpoint) as file:
        file.extractall(path)


def without(given: Given, *keys: str) -> dict:
    return {key: tensor for key, tensor in given.state.items() if key not in keys}


def with_value(given: Given, key: str, value: float) -> dict:
    changed = given.state[key].clone()
    changed.view(-1)[0] = value
    return given.state | {key: changed}


HEAD, FIRST = "outconv.bias", "stage1.rebnconv1.conv_s1.weight"
# name of the file, how it is made, what is said of it
WEIGHTS = {
    "missing": ("w.pth", lambda g, p: None, r"there (is|are) no .*w\.pth"),
    "a folder": ("w.pth", lambda g, p: p.mkdir(), r"w\.pth"),
    "an unpacked checkpoint": ("w", unpacked, "folder|directory|unpacked"),
    "zero bytes": ("w.pth", lambda g, p: p.touch(), r"w\.pth"),
    "text": ("w.pth", lambda g, p: p.write_text("no weights"), r"w\.pth"),
    "a web page": ("w.pth", lambda g, p: p.write_text("<!DOCTYPE html><html>quota</html>"), "html|web page"),
    "a pointer to Git LFS": (
        "w.pth",
        lambda g, p: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n"),
        "LFS",
    ),
    "a picture": ("w.pth", lambda g, p: p.write_bytes(encoded("PNG")), r"w\.pth"),
    "random bytes": ("w.pth", lambda g, p: p.write_bytes(np.random.default_rng(0).bytes(9999)), r"w\.pth"),
    "truncated": ("w.pth", lambda g, p: p.write_bytes(g.checkpoint.read_bytes()[:500_000]), r"w\.pth"),
    "damaged": ("w.pth", lambda g, p: p.write_bytes(g.checkpoint.read_bytes()[1000:]), r"w\.pth"),
    "a zip of something else": ("w.pth", lambda g, p: zipfile.ZipFile(p, "w").close(), r"w\.pth"),
    "one that runs code": (
        "w.pth",
        lambda g, p: torch.save(Malicious(g.folder / "marker"), p),
        "is refused.*run code",
    ),
    "a plain pickle that runs code": (
        "w.pth",
        lambda g, p: p.write_bytes(pickle.dumps(Malicious(g.folder / "marker"))),
        r"w\.pth",
    ),
    "NaN among its weights": ("w.pth", lambda g, p: saved(p, with_value(g, FIRST, np.nan)), "NaN|finite"),
    "infinity among its weights": ("w.pth", lambda g, p: saved(p, with_value(g, HEAD, np.inf)), "infin|finite"),
    "a whole TorchScript module": ("w.pt", torchscript, "TorchScript"),
    "saliency weights": (
        "w.pth",
        lambda g, p: saved(p, build_network("u2netp", 1).state_dict()),
        r"saliency.*setup_model_weights\.py",
    ),
    "another network": ("w.pth", lambda g, p: torch.save({"fc.weight": torch.zeros(3, 3)}, p), "U2NET"),
    "a missing tensor": ("w.pth", lambda g, p: torch.save(without(g, FIRST), p), r"w\.pth"),
    "a missing head": ("w.pth", lambda g, p: torch.save(without(g, HEAD), p), r"w\.pth"),
    "a tensor too many": (
        "w.pth", lambda g, p: torch.save(g.state | {"x": torch.zeros(1)}, p), r"does not fit.*unexpected \(x",
    ),
    "a tensor of another shape": (
        "w.pth", lambda g, p: torch.save(g.state | {HEAD: torch.zeros(4, 1)}, p), r"w\.pth",
    ),
    "an empty state": ("w.pth", lambda g, p: torch.save({}, p), "state dict|no weights"),
    "a list": ("w.pth", lambda g, p: torch.save([1, 2], p), "state dict|no weights"),
    "a number": ("w.pth", lambda g, p: torch.save(7, p), "state dict|no weights"),
    "a bare tensor": ("w.pth", lambda g, p: torch.save(torch.zeros(3), p), "state dict|no weights"),
    "a size of 0": ("w.pth", lambda g, p: saved(p, g.state, height=0), "describes itself wrongly"),
    "an absurd size": ("w.pth", lambda g, p: saved(p, g.state, width=10**9), "describes itself wrongly"),
    "a size in words": ("w.pth", lambda g, p: saved(p, g.state, width="wide"), "describes itself wrongly"),
    "no spread": ("w.pth", lambda g, p: saved(p, g.state, std=0.0), "describes itself wrongly"),
    "a mean that is not a number": ("w.pth", lambda g, p: saved(p, g.state, mean=np.nan), "describes itself wrongly"),
    "classes that are numbers": ("w.pth", lambda g, p: saved(p, g.state, class_names=[1, 2, 3, 4]), "class_names"),
    "text named .onnx": ("w.onnx", lambda g, p: p.write_text("no weights"), r"w\.onnx"),
    "an empty .onnx": ("w.onnx", lambda g, p: p.touch(), r"w\.onnx"),
    "another network's .onnx": ("w.onnx", other_onnx, r"w\.onnx"),
    "text named .safetensors": ("w.safetensors", lambda g, p: p.write_text("no weights"), r"w\.safetensors"),
}  # fmt: skip


def weights(kind: str, program: str, command: Callable[[Given, Path], list]) -> None:
    """A row for a weight file of a kind, given to a program."""
    name, make, words = WEIGHTS[kind]

    def made(given: Given) -> list:
        path = given.folder / name
        make(given, path)
        return command(given, path)

    TABLE.append(Row(f"{program}: weights, {kind}", made, 1, (words,)))


def infer_with(given: Given, path: Path) -> list:
    given.write("photos/good.jpg", encoded("JPEG"))
    return infer_flags(given, checkpoint_path=path)


def evaluate_flags(given: Given, **changes) -> list:
    options = {
        "image_folder": given.dolls.image_folder, "df_path": given.dolls.df_path, "checkpoint_path": given.checkpoint,
        "device": "cpu", "precision": "fp32", **changes,
    }  # fmt: skip
    return ["evaluate.py", *flags_of(options)]


def train_flags(given: Given, disk: Path | None = None, **changes) -> list:
    return ["train.py", *training_flags(given.dolls, (disk or given.folder) / "run", **{"iter": 1, **changes})]


for kind in WEIGHTS:
    weights(kind, "infer.py", infer_with)
for kind in ("missing", "a web page", "one that runs code", "saliency weights"):
    weights(kind, "evaluate.py", lambda g, p: evaluate_flags(g, checkpoint_path=p))
    weights(kind, "export.py", lambda g, p: ["export.py", "--checkpoint_path", p, "--output", g.folder / "new.pth"])
    weights(
        kind, "convert_to_torchscript.py",
        lambda g, p: ["deploy/convert_to_torchscript.py", "--checkpoint_path", p, "--output", g.folder / "new.pt"],
    )  # fmt: skip
    weights(
        kind, "build_archive.py",
        lambda g, p: ["deploy/build_archive.py", "--checkpoint_path", p, "--output_dir", g.folder / "store"],
    )  # fmt: skip
for kind in ("missing", "zero bytes", "a web page", "a pointer to Git LFS", "truncated", "one that runs code"):
    weights(kind, "train.py", lambda g, p: train_flags(g, continue_train=True, unet_checkpoint=p))
    weights(
        kind, "setup_model_weights.py",
        lambda g, p: ["setup_model_weights.py", "--model", "u2netp", "--weights", p, "--save_dir", g.folder / "new"],
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Label tables, class maps and folders of photographs.

# content, or how it is made; what is said of it
TABLES = {
    "missing": (None, r"no label table at .*table\.csv"),
    "a folder": (lambda path: path.mkdir(), r"table\.csv"),
    "zero bytes": (b"", r"table\.csv"),
    "a header alone": (HEADER, r"nothing usable in .*table\.csv"),
    "lacking columns": ("ImageId,Height\na.jpg,9\n", "lacks columns|needs"),
    "a picture": (encoded("PNG"), r"table\.csv"),
    "a web page": ("<!DOCTYPE html>\n<html><body>Sign in</body></html>\n", r"table\.csv"),
    "an open quotation mark": (f'{HEADER}"doll000.jpg,1 5,9,9,1\n', r"table\.csv"),
    "photographs that are not there": (f"{HEADER}absent.jpg,1 5,9,9,1\n", "nothing usable.*missing photo"),
    "a path out of the folder": (f"{HEADER}../few/dolls/doll000.jpg,1 5,9,9,1\n", "nothing usable"),
    "unknown categories": (f"{HEADER}doll000.jpg,1 5,9,9,999\n", "nothing usable.*unknown ClassId"),
    "sizes of other photographs": (f"{HEADER}doll000.jpg,1 5,9,9999,1\n", "nothing usable"),
    "sizes that are not numbers": (f"{HEADER}doll000.jpg,1 5,high,wide,1\n", "nothing usable"),
    "numbers beyond all bounds": (f"{HEADER}doll000.jpg,1 5,1e999,{'9' * 400},1\n", "nothing usable"),
}
CLASS_MAPS = {
    "missing": (None, "cannot read the class map .*map.yml"),
    "a folder": (lambda path: path.mkdir(), "cannot read the class map"),
    "zero bytes": (b"", "must map"),
    "invalid YAML": ("a: [0", "neither valid YAML nor valid JSON"),
    "not text": (b"\xff\xfe\x00", "neither valid YAML nor valid JSON"),
    "a list": ("[upper, lower]", "must map"),
    "a class without categories": ("upper: []", "must map"),
    "a class that is a number": ("1: [0]", "must map"),
    "a class named background": ("background: [0]", "must map"),
    "a class named any": ("any: [0]", "must map"),
    "a negative category": ("upper: [-1]", "must map"),
    "a category that is true": ("upper: [true]", "must map"),
    "a category of two classes": ("upper: [0]\nlower: [0]", "category 0 twice"),
    "more classes than labels": ("\n".join(f"c{i}: [{i}]" for i in range(300)), "1 to 253 class names"),
    "YAML that runs code": ("!!python/object/apply:os.mkdir [marker]", "neither valid YAML nor valid JSON"),
    "other classes than the checkpoint": ("top: [0]", "--class_map"),
}


def file(kind: str, files: dict, name: str, program: str, command: Callable[[Given, Path], list]) -> None:
    """A row for a text file of a kind, given to a program."""
    content, words = files[kind]

    def made(given: Given) -> list:
        path = given.folder / name
        if callable(content):
            content(path)
        elif content is not None:
            given.write(name, content)
        return command(given, path)

    TABLE.append(Row(f"{program}: {name}, {kind}", made, 1, (words,)))


def audit_flags(given: Given, **changes) -> list:
    options = {"image_folder": given.dolls.image_folder, "df_path": given.dolls.df_path, **changes}
    return ["-m", "data.audit", *flags_of(options)]


for kind in TABLES:
    file(kind, TABLES, "table.csv", "evaluate.py", lambda g, p: evaluate_flags(g, df_path=p))
for kind in ("missing", "zero bytes", "a header alone", "photographs that are not there"):
    file(kind, TABLES, "table.csv", "train.py", lambda g, p: train_flags(g, df_path=p))
    file(kind, TABLES, "table.csv", "data.audit", lambda g, p: audit_flags(g, df_path=p))
    file(
        kind, TABLES, "table.csv", "train.py's validation",
        lambda g, p: train_flags(g, val_df_path=p, val_image_folder=g.dolls.image_folder),
    )  # fmt: skip
for kind in CLASS_MAPS:
    file(kind, CLASS_MAPS, "map.yml", "evaluate.py", lambda g, p: evaluate_flags(g, class_map=p))
for kind in ("missing", "a list"):
    file(kind, CLASS_MAPS, "map.yml", "train.py", lambda g, p: train_flags(g, class_map=p))
    file(kind, CLASS_MAPS, "map.yml", "data.audit", lambda g, p: audit_flags(g, class_map=p))
    file(
        kind, CLASS_MAPS, "map.yml", "setup_model_weights.py",
        lambda g, p: [
            "setup_model_weights.py", "--model", "u2netp", "--weights", g.checkpoint, "--save_dir", g.folder / "new",
            "--class_map", p,
        ],
    )  # fmt: skip
for make in (evaluate_flags, train_flags, audit_flags):
    program = make.__name__.removesuffix("_flags")
    for name in ("absent", "empty", "file"):

        def command(given: Given, make=make, name=name) -> list:
            (given.folder / "empty").mkdir()
            given.write("file", "a file")
            return make(given, image_folder=given.folder / name)

        TABLE.append(Row(f"{program}: photographs in a folder that is {name}", command, 1, (name,)))


# ---------------------------------------------------------------------------------------------------------------------
# What else the programs are told.


@row("evaluate.py: nothing that can be decoded", 1, "none of the 2 photographs can be decoded")
def _(given):
    data = DataSet(*make_paper_dolls(given.folder, photos=2))
    for path in data.image_folder.iterdir():
        path.write_bytes(path.read_bytes()[:-900])  # the header, with the size, stays whole
    return evaluate_flags(given, image_folder=data.image_folder, df_path=data.df_path, json=given.folder / "out.json")


@row("evaluate.py: figures into a file's folder", 1, "cannot write into .*: Not a directory")
def _(given):
    return evaluate_flags(given, json=given.write("file") / "out.json")


@row("evaluate.py: figures onto a folder", 1, "cannot write .*run: Is a directory")
def _(given):
    (given.folder / "run").mkdir()
    return evaluate_flags(given, json=given.folder / "run")


@row("evaluate.py: a report into a file", 1, "cannot write into .*: Not a directory")
def _(given):
    return evaluate_flags(given, report_dir=given.write("file"))


@row("data.audit: a report into a file", 1, "cannot write .*: Not a directory")
def _(given):
    return audit_flags(given, report_dir=given.write("file"))


@row("data.audit: half of a second table", 1, "--against_")
def _(given):
    return audit_flags(given, against_df_path=given.dolls.df_path)


@row("data.audit: a photograph that breaks when decoded", 0, "doll001.jpg")
def _(given):
    data = DataSet(*make_paper_dolls(given.folder, photos=3))
    path = data.image_folder / "doll001.jpg"
    path.write_bytes(path.read_bytes()[:-900])
    return audit_flags(given, image_folder=data.image_folder, df_path=data.df_path)


def told(program: str, name: str, code: int, *words: str, **flags) -> None:
    """A row for flags alone; {folder}, {checkpoint} and so on in their values are filled in."""

    def command(given: Given) -> list:
        return [program, *(str(word).format(**vars(given)) for word in flags_of(flags))]

    TABLE.append(Row(f"{program}: {name}", command, code, words))


told("export.py", "nothing", 2, "required: --checkpoint_path, --output")
told("export.py", "another suffix", 1, "must end in", checkpoint_path="{checkpoint}", output="{folder}/new.tflite")
told("export.py", "no suffix", 1, "must end in", checkpoint_path="{checkpoint}", output="{folder}/new")
told("export.py", "a file that exists", 1, "exists", checkpoint_path="{checkpoint}", output="{checkpoint}")
told(
    "export.py", "a folder without photographs", 1, "no photographs in", checkpoint_path="{checkpoint}",
    output="{folder}/new.pth", photos="{folder}",
)  # fmt: skip
told(
    "export.py", "no such folder of photographs", 1, "no folder .*absent", checkpoint_path="{checkpoint}",
    output="{folder}/new.pth", photos="{folder}/absent",
)  # fmt: skip
told(
    "export.py", "below a file", 1, "cannot write .*: Not a directory", checkpoint_path="{checkpoint}",
    output="{checkpoint}/below/new.pth",
)  # fmt: skip
told("setup_model_weights.py", "the other network", 1, "does not fit|u2net", model="u2net", weights="{checkpoint}")
told(
    "setup_model_weights.py", "a file as folder", 1, "cannot write", model="u2netp", weights="{checkpoint}",
    save_dir="{checkpoint}",
)  # fmt: skip
told("deploy/build_archive.py", "no such settings", 1, "cannot read the settings", model_config="{folder}/absent")
told("deploy/build_archive.py", "settings of something else", 1, "settings", model_config="README.md")
told(
    "deploy/build_archive.py", "a file as folder", 1, "cannot write", checkpoint_path="{checkpoint}",
    output_dir="{checkpoint}",
)  # fmt: skip
told("deploy/convert_to_torchscript.py", "another suffix", 1, "must end in", output="{folder}/new.onnx2")
told("deploy/deployed_infer.py", "nothing", 2, "required: --input, --output")
told("deploy/deployed_infer.py", "no endpoint", 1, "--location.*--url", input="{folder}", output="{folder}/out")
client = {"input": "input_images", "output": "{folder}/out"}
told("deploy/deployed_infer.py", "not a web address", 1, "--url nowhere is not", url="nowhere", **client)
told("deploy/deployed_infer.py", "another scheme", 1, "--url ftp", url="ftp://localhost/", **client)
told("deploy/deployed_infer.py", "nobody listens", 1, "no server answers", url="http://127.0.0.1:9", **client)
told(
    "deploy/deployed_infer.py", "no photographs", 1, "no photographs in", url="http://127.0.0.1:9", input="{folder}",
    output="{folder}/out",
)  # fmt: skip
told(
    "deploy/deployed_infer.py", "no such photograph", 1, "absent.jpg", url="http://127.0.0.1:9",
    input="{folder}/absent.jpg", output="{folder}/out",
)  # fmt: skip


@row("deployed_infer.py: a result that would replace the photograph", 1, "would replace the photograph")
def _(given):
    path = given.write("a.png", encoded("PNG"))
    return ["deploy/deployed_infer.py", "--input", path, "--output", path, "--url", "http://127.0.0.1:9"]


@row("deployed_infer.py: two photographs of one name", 1, "two photographs .*a.png")
def _(given):
    paths = [given.write(f"{folder}/a.png", encoded("PNG")) for folder in "xy"]
    return ["deploy/deployed_infer.py", "--input", *paths, "--output", given.folder / "out", "--url", "http://x"]


def trained(name: str, *words: str, make: Callable[[Given], object] = lambda given: None, **changes) -> None:
    def command(given: Given) -> list:
        make(given)
        filled = {k: v.format(**vars(given)) if isinstance(v, str) else v for k, v in changes.items()}
        return train_flags(given, **filled)

    TABLE.append(Row(f"train.py: {name}", command, 1, words))


trained("nothing to resume", "no run to resume in .*run", resume=True)
trained("a folder that holds a run", "holds a run already", "--resume", make=lambda g: g.write("run/latest.pth"))
trained("a run folder that is a file", "run", make=lambda g: g.write("run"))
trained("half of the validation data", "both --val_image_folder and --val_df_path", val_df_path="{folder}/x.csv")
trained("too few class weights", "--class_weights needs 4", class_weights=[1.0, 2.0])
trained("class weights of zero", "--class_weights", class_weights=[0.0] * 4)
trained("sizes that make no sense", "SCALE:UNTIL", smaller_first=["0.5"])
trained("close-ups without augmentation", "--close_ups needs --augment full", close_ups=0.5)
trained("one pixel for batch norm", "batch norm", batchSize=1, fine_width=32, fine_height=32)
trained("a device that no one has", "unknown device", device="gpu")
trained("no file of options", "cannot read the options file .*absent", options="{folder}/absent.yml")
for name, content, words in (
    ("an unknown option in a file", "batch_size: 3", "unknown option batch_size"),
    ("options of a wrong kind", "batchSize: many", "batchSize is 'many', it must be"),
    ("options out of range", "batchSize: 0", "batchSize.*at least 1"),
    ("a list of options", "- batchSize", "must map option names to values"),
    ("broken YAML", "batchSize: [", "is not valid YAML"),
    ("options that run code", "name: !!python/object/apply:os.mkdir [marker]", "is not valid YAML"),
):
    trained(name, words, make=lambda g, c=content: g.write("options.yml", c), options="{folder}/options.yml")


# ---------------------------------------------------------------------------------------------------------------------
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
    "export.py": lambda g, disk: ["export.py", "--checkpoint_path", g.checkpoint, "--output", disk / "new.pth"],
    "convert_to_torchscript.py": lambda g, disk: [
        "deploy/convert_to_torchscript.py", "--checkpoint_path", g.checkpoint, "--output", disk / "new.pt",
    ],
    "setup_model_weights.py": lambda g, disk: [
        "setup_model_weights.py", "--model", "u2netp", "--weights", g.checkpoint, "--save_dir", disk,
    ],
    "build_archive.py": lambda g, disk: [
        "deploy/build_archive.py", "--checkpoint_path", g.checkpoint, "--output_dir", disk,
    ],
    "train.py": lambda g, disk: train_flags(g, disk, logs_dir=g.folder / "logs"),
}  # fmt: skip

for program, writer in WRITERS.items():
    for name, settings, words in (
        ("a full disk", "size=32k", "No space left on device"),
        ("a read-only disk", "ro", "Read-only file system"),
    ):

        def command(given: Given, writer=writer, settings=settings) -> list:
            return writer(given, given.mount("disk", settings))

        hint = "--skip_existing" if (program, name) == ("infer.py", "a full disk") else ""
        TABLE.append(Row(f"{program}: {name}", command, 1, (rf"(?m)error: cannot write .*: {words}.*{hint}",)))


# ---------------------------------------------------------------------------------------------------------------------
# Every option out of its range.

PROGRAMS = {
    "train.py": TrainOptions,
    "infer.py": InferOptions,
    "evaluate.py": EvaluateOptions,
    "export.py": ExportOptions,
    "setup_model_weights.py": SetupOptions,
    "-m data.audit": AuditOptions,
    "deploy/build_archive.py": ArchiveOptions,
    "deploy/deployed_infer.py": ClientOptions,
    "deploy/convert_to_torchscript.py": TorchScriptOptions,
}


def values_out_of_range(item) -> Iterator[tuple[str, int]]:
    """(value, exit code) of values that an option must not take. item: its field."""
    limits, kind = item.metadata, str(item.type)
    if limits["at_least"] is not None:
        yield f"{limits['at_least'] - 1}", 1
    if limits["at_most"] is not None:
        yield f"{limits['at_most'] + 1}", 1
    if limits["below"] is not None:
        yield f"{limits['below']}", 1
    if limits["choices"]:
        yield "no_such_choice", 2
    if "int" in kind:
        yield "many", 2
        yield "1.5", 2
    if "float" in kind:
        yield "many", 2
        yield "nan", 1
        if item.default != np.inf:
            yield "inf", 1


for program, options in PROGRAMS.items():
    needed = [word for item in fields(options) if item.default is option().default for word in (f"--{item.name}", "x")]
    TABLE.append(Row(f"{program}: an unknown option", lambda g, p=program: [*p.split(), "--no_such_option"], 2))
    for item in fields(options):
        for value, code in values_out_of_range(item):
            # Limits are looked at one after the other: what is needed besides may stand for any value.
            words = [*program.split(), *needed, f"--{item.name}={value}"]
            TABLE.append(Row(f"{program}: {words[-1]}", lambda g, w=words: w, code, (f"--{item.name}",)))


# ---------------------------------------------------------------------------------------------------------------------


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
    assert not (folder / "marker").exists(), "code from a file was run"
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


def test_the_table_has_rows_for_every_program():
    assert len(TABLE) >= 80
    assert len({row.name for row in TABLE}) == len(TABLE)
    for program in PROGRAMS:
        name = Path(program.split()[-1]).name
        assert sum(name in row.name for row in TABLE) >= 4, program


@pytest.mark.parametrize(
    "name",
    [
        "photo: a broken file with a line break in its name", "infer.py: results into the folder itself",
        "train.py: --batchSize=0", "export.py: nothing",
    ],
)  # fmt: skip
def test_programs_started_by_a_user_end_in_the_same_way(name, given):
    """What the table sees of programs within this process is what a user sees."""
    (row,) = (row for row in TABLE if row.name == name)
    command = row.command(given)
    before = contents(given.folder)
    started = run_script(*command)
    check(row, started, given.folder, before)
    here = run_here(*command)
    assert (started.returncode, faults(started)) == (here.returncode, faults(here))


def test_a_folder_of_10000_photographs_is_planned_in_seconds(given):
    first = given.write("photos/0.png", encoded("PNG", noise(8, 8)))
    for i in range(1, 10_000):
        (first.parent / f"{i}.png").hardlink_to(first)
    plan = infer.make_plan(InferOptions.parse(list(map(str, infer_flags(given)[1:]))))
    assert len(plan.jobs) == 10_000
    assert len({path for job in plan.jobs for path in job.results.values()}) == 10_000
