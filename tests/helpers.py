"""What tests share beside fixtures: running the programs, waiting for them, drawn photographs."""

import base64
import contextlib
import csv
import errno
import io
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from data.labels.rle import encode_rle
from networks.u2net import build_network

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
TOP, TROUSERS, DRESS, SHOE = 1, 6, 10, 23  # iMaterialist category ids
SMALL = {"fine_width": 32, "fine_height": 32}  # the smallest that the network takes


@contextlib.contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """A file system in memory, of a size such as 40m; the test is skipped where it may not be mounted."""
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)  # a run may still hold a file open


class DataSet(NamedTuple):
    image_folder: Path
    df_path: Path


def shared(path: str) -> Path:
    """A file below ../shared; the test is skipped where it is absent."""
    if not (SHARED / path).exists():
        pytest.skip(f"needs {SHARED / path}, which is not part of the repository")
    return SHARED / path


def flags_of(options: dict[str, object]) -> list[str]:
    """Command-line flags of option values by name; True and False become --name and --no-name, None nothing."""
    flags = []
    for name, value in options.items():
        if isinstance(value, bool):
            flags.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, list | tuple):
            flags += [f"--{name}", *map(str, value)]
        elif value is not None:
            flags += [f"--{name}", str(value)]
    return flags


def training_flags(data: DataSet, save_dir: Path, **changes) -> list[str]:
    """Flags of a small training: U2NETP from scratch at 64x64 on the CPU."""
    return flags_of(
        {
            "image_folder": data.image_folder, "df_path": data.df_path, "save_dir": save_dir,
            "logs_dir": save_dir / "logs", "model": "u2netp", "continue_train": False, "fine_width": 64,
            "fine_height": 64, "batchSize": 2, "nThreads": 0, "device": "cpu", "precision": "fp32", "iter": 6,
            "print_freq": 2, "image_log_freq": 3, "save_freq": 3, **changes,
        }
    )  # fmt: skip


def state_of(save_dir: Path) -> dict:
    """What a run saved last."""
    return torch.load(save_dir / "latest.pth", weights_only=True)


def events_of(logs_dir: Path):
    """TensorBoard's view of a run's logs, with every scalar and picture."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # few tests need it

    events = EventAccumulator(str(logs_dir), size_guidance={"images": 0, "scalars": 0})  # 0: keep all
    events.Reload()
    return events


def run_script(*command: object, timeout: float = 300, cwd: Path = ROOT, **kwargs) -> subprocess.CompletedProcess:
    """Run ``python <command>`` in the repository's root as a user would; output as text."""
    words = [sys.executable, *map(str, command)]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=timeout, **kwargs)


def run_here(*command: object) -> subprocess.CompletedProcess:
    """As ``run_script``, but within this process, which has imported already what takes seconds."""
    words, process, exit_now = list(map(str, command)), os.getpid(), os._exit
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))

    def leave(code: int) -> None:  # an end without ceremony must not be the end of the tests
        if os.getpid() != process:
            exit_now(code)
        raise SystemExit(code)

    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.chdir(ROOT)
        patch.setattr(os, "_exit", leave)
        patch.setattr(sys, "argv", words[words[0] == "-m" :])
        patch.setattr(sys, "path", sys.path.copy())
        patch.setattr(warnings, "formatwarning", warnings.formatwarning)
        warnings.simplefilter("default")
        warnings.showwarning = lambda *warning: sys.stderr.write(warnings.formatwarning(*warning[:4]))
        try:
            if words[0] == "-m":
                runpy.run_module(words[1], run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(words[0], run_name="__main__")
            code = 0
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            code = traceback.format_exc()
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    said = (stream.buffer.getvalue().decode() for stream in (out, err))
    return subprocess.CompletedProcess(words, code, *said)


def start_script(*command: object) -> subprocess.Popen:
    """Start ``python <command>`` as the leader of a process group of its own, as a terminal does."""
    words, pipe = [sys.executable, *map(str, command)], subprocess.PIPE
    return subprocess.Popen(words, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Return when ``path`` exists; fail when the process ends before."""
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def end(process: subprocess.Popen, seconds: float = 240) -> tuple[str, str]:
    """Output of a process that ends by itself; whatever happens, none of its group is left."""
    try:
        return process.communicate(timeout=seconds)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **settings) -> bytes:
    """An image as a file's bytes."""
    buffer = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def encoded_photo(width: int = 12, height: int = 8, kind: str = "PNG", noise: bool = False, **settings) -> bytes:
    """A small photograph as a file's bytes: grey, or noise where it must not compress."""
    pixels = np.full((height, width, 3), 128, np.uint8)
    if noise:
        pixels = np.random.default_rng(0).integers(0, 256, pixels.shape, np.uint8)
    return encoded(pixels, kind, **settings)


def exif_of(orientation: int) -> bytes:
    """EXIF that says how a photo is turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def png_chunk(name: bytes, data: bytes, check: int | None = None) -> bytes:
    """check: its check sum, the right one by default."""
    check = zlib.crc32(name + data) if check is None else check
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)


def lock_folders(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let nobody read folders of these names: the tests may run as root, who may read everything."""
    scandir = os.scandir

    def refuse(path):
        if Path(path).name in names:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def torchrun(processes: int = 2) -> list[str]:
    """Words that start a script in several processes, to be given to ``python``."""
    return ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", f"--master_port={free_port()}"]


def changed_on_rank_1(program: str, change: str, folder: Path) -> Path:
    """A script that runs a program, on rank 1 after a line of code."""
    script = folder / "changed.py"
    script.write_text(f"""import os, runpy, sys, time
sys.path.insert(0, os.getcwd())
if os.environ["RANK"] == "1":
    {change}
runpy.run_path("{program}", run_name="__main__")
""")
    return script


def assert_one_line_error(result: subprocess.CompletedProcess, *words: str) -> None:
    """The program failed with one clear line that has ``words``, and no traceback."""
    assert result.returncode != 0, result.stdout
    assert "Traceback" not in result.stderr, result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ") or ".py: error: " in last, result.stderr
    for word in words:
        assert word in last, last


def draw_doll(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """A doll: (photo H x W x 3 uint8, mask H x W bool by category id). Clothes have colours of their own class."""
    photo = rng.integers(150, 256, (height, width, 3), dtype=np.uint8)
    y, x = np.mgrid[:height, :width]
    centre = width * rng.uniform(0.4, 0.6)

    def box(top: float, bottom: float, half: float) -> np.ndarray:
        return (y >= top * height) & (y < bottom * height) & (abs(x - centre) < half * width)

    if rng.random() < 0.5:
        masks = {TOP: box(0.25, 0.5, 0.2), TROUSERS: box(0.5, 0.9, 0.15)}
    else:
        masks = {DRESS: box(0.25, 0.8, 0.22)}
    masks[SHOE] = box(0.92, 0.97, 0.15)
    colours = {TOP: (180, 40, 40), TROUSERS: (40, 60, 160), DRESS: (60, 150, 60), SHOE: (20, 20, 20)}
    for category, mask in masks.items():
        shade = np.array(colours[category]) + rng.integers(-15, 16, (height, width, 3))
        photo[mask] = shade.clip(0, 255).astype(np.uint8)[mask]
    return photo, masks


def make_paper_dolls(folder: Path, photos: int = 12, seed: int = 0) -> tuple[Path, Path]:
    """Write ``photos`` JPEGs and their table below ``folder``; returns (image folder, CSV path)."""
    rng = np.random.default_rng(seed)
    image_folder, df_path = folder / "dolls", folder / "dolls.csv"
    image_folder.mkdir(parents=True)
    with df_path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ImageId", "EncodedPixels", "Height", "Width", "ClassId"])
        for i in range(photos):
            height, width = int(rng.integers(90, 140)), int(rng.integers(60, 100))
            photo, masks = draw_doll(rng, height, width)
            Image.fromarray(photo).save(image_folder / f"doll{i:03}.jpg", quality=92)
            for category, mask in masks.items():
                writer.writerow([f"doll{i:03}.jpg", encode_rle(mask), height, width, category])
    return image_folder, df_path


def trained_like(name: str, classes: int, seed: int = 0) -> nn.Module:
    """A network whose batch norms have statistics and scales of their own, as after training."""
    torch.manual_seed(seed)
    network = build_network(name, classes)
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.8, 1.2)
        nn.init.normal_(norm.bias, 0, 0.1)
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 1.5)
        norm.num_batches_tracked.fill_(1000)
    return network.eval()


def random_photos(*sizes: tuple[int, int], seed: int = 0) -> list[Image.Image]:
    """RGB photographs of noise, each of a size (H, W)."""
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


def scene(seed: int, height: int = 300, width: int = 200) -> Image.Image:
    """A picture of soft patches of colour, no two seeds alike."""
    patches = np.random.default_rng(seed).integers(0, 256, (9, 6, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC)


def append_rows(df_path: Path, *rows: tuple) -> None:
    """Add rows to a CSV file."""
    with df_path.open("a", newline="") as file:
        csv.writer(file).writerows(rows)


def write_scenes(folder: Path, scenes: dict[str, Image.Image], shirt: float = 0.5) -> tuple[Path, Path]:
    """A data set of pictures with one mask each: a shirt over the upper half, or over ``shirt`` of the last one."""
    (folder / "photos").mkdir(parents=True)
    df_path = folder / "table.csv"
    append_rows(df_path, ("ImageId", "EncodedPixels", "Height", "Width", "ClassId"))
    for name, picture in scenes.items():
        picture.save(folder / "photos" / name)
        mask = np.zeros(picture.size[::-1], bool)
        mask[: round(len(mask) * (shirt if name == list(scenes)[-1] else 0.5))] = True
        append_rows(df_path, (name, encode_rle(mask), *mask.shape, 0))
    return folder / "photos", df_path
