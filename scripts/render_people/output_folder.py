"""The folder of rendered pictures: what is done, whole files only, and the table made of them."""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from utils.errors import UserError
from utils.files import write_atomically, write_csv

ROW = "rendered"  # key of the label map's text that says what the picture shows


def is_done(folder: Path, name: str) -> bool:
    return _labels(folder, name).exists()


def write(folder: Path, name: str, photo: bytes, labels: np.ndarray, row: dict) -> None:
    """Write a picture: the photo, then its labels, which hold the table's row: where they are, all is there."""
    text = PngImagePlugin.PngInfo()
    text.add_text(ROW, json.dumps(row))
    image = io.BytesIO()
    Image.fromarray(labels).save(image, "PNG", pnginfo=text)
    write_atomically(folder / "photos" / f"{name}.jpg", photo)
    write_atomically(_labels(folder, name), image.getvalue())


def write_table(folder: Path) -> int:
    """Write rendered.csv from all label maps; their number. Raises UserError."""
    rows = []
    for path in sorted((folder / "labels").glob("*.png")):
        with Image.open(path) as image:
            if ROW not in image.text:
                raise UserError(f"{path} was not made by this program; choose another --output_dir")
            rows.append(json.loads(image.text[ROW]))
    columns = list(rows[0]) if rows else []
    write_csv(folder / "rendered.csv", [columns, *([row.get(name, "") for name in columns] for row in rows)])
    return len(rows)


def _labels(folder: Path, name: str) -> Path:
    return folder / "labels" / f"{name}.png"
