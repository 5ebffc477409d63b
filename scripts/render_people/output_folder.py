"""The folder of rendered pictures: what is done, whole files only, and the table made of them."""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from utils.errors import UserError
from utils.files import write_atomically, write_csv

ROW, OPTIONS = "rendered", "options"  # keys of the label map's texts: what the picture shows, how it was made


def is_done(folder: Path, name: str, options: str) -> bool:
    """Whether a picture is there. Raises UserError where it was made with other options."""
    photo, labels = _paths(folder, name)
    if not labels.exists() or not photo.exists():
        return False
    if (earlier := _texts(labels).get(OPTIONS, options)) != options:  # earlier versions did not say
        raise UserError(f"{labels} was made with {earlier}, not {options}; choose another --output_dir")
    return True


def write(folder: Path, name: str, photo: bytes, labels: np.ndarray, row: dict, options: str) -> None:
    """Write a picture: the photo, then its labels, which hold the table's row: where they are, all is there."""
    text = PngImagePlugin.PngInfo()
    text.add_text(ROW, json.dumps(row))
    text.add_text(OPTIONS, options)
    image = io.BytesIO()
    Image.fromarray(labels).save(image, "PNG", pnginfo=text)
    for path, content in zip(_paths(folder, name), (photo, image.getvalue()), strict=True):
        write_atomically(path, content)


def write_table(folder: Path) -> int:
    """Write rendered.csv from all label maps; their number. Raises UserError."""
    rows = [json.loads(_texts(path)[ROW]) for path in sorted((folder / "labels").glob("*.png"))]
    columns = list(rows[0]) if rows else []
    write_csv(folder / "rendered.csv", [columns, *([row.get(name, "") for name in columns] for row in rows)])
    return len(rows)


def _texts(path: Path) -> dict[str, str]:
    """The texts of a label map. Raises UserError where this program did not write it."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            texts = image.info
    except Exception:  # Pillow's decoders raise what they like on broken files
        texts = {}
    if ROW not in texts:
        raise UserError(f"{path} was not made by this program; choose another --output_dir")
    return texts


def _paths(folder: Path, name: str) -> tuple[Path, Path]:
    """Of a picture's photo and its labels."""
    return folder / "photos" / f"{name}.jpg", folder / "labels" / f"{name}.png"
