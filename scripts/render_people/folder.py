"""The folder of rendered pictures: what is done, whole files only, and the table made of them."""

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from utils.errors import UserError

ROW = "rendered"  # key of the label map's text that says what the picture shows


def to_do(folder: Path, names: list[str], shard: tuple[int, int]) -> list[int]:
    """Indices of the pictures of a shard (number, count) that are not there yet."""
    number, count = shard
    return [i for i, name in enumerate(names) if i % count == number - 1 and not _labels(folder, name).exists()]


def parse_shard(text: str) -> tuple[int, int]:
    """(number, count) of "2/4". Raises ValueError."""
    number, count = map(int, text.split("/"))
    if not 1 <= number <= count:
        raise ValueError(text)
    return number, count


def write(folder: Path, name: str, photo: bytes, labels: np.ndarray, row: dict) -> None:
    """Write a picture: the photograph, then its labels, which hold the table's row: where they are, all is there."""
    text = PngImagePlugin.PngInfo()
    text.add_text(ROW, json.dumps(row))
    image = io.BytesIO()
    Image.fromarray(labels).save(image, "PNG", pnginfo=text)
    _replace(folder / "photos" / f"{name}.jpg", photo)
    _replace(_labels(folder, name), image.getvalue())


def write_table(folder: Path) -> int:
    """Write rendered.csv anew from all label maps; their number."""
    rows = []
    for path in sorted((folder / "labels").glob("*.png")):
        with Image.open(path) as image:
            if ROW not in image.text:
                raise UserError(f"{path} was not made by this program; set another output folder")
            rows.append(json.loads(image.text[ROW]))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    _replace(folder / "rendered.csv", text.getvalue().encode())
    return len(rows)


def _labels(folder: Path, name: str) -> Path:
    return folder / "labels" / f"{name}.png"


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(path)
