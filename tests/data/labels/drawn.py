"""Small photos with a white box on black, and labels of that box."""

import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from data.classes import CLOTHES, ClassTable
from data.labels.imaterialist import COLUMNS
from data.labels.read import read_labels
from data.labels.rle import encode_rle
from data.labels.table import LabelTable
from data.training.datasets import EvaluationPhotos, LoadedSource, TrainingPhotos
from data.training.sampler import Draw
from data.training.sources import Source
from tests.helpers import exif_of

HEIGHT, WIDTH = 40, 30
TURNED = {5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


def mask_of(top: int, left: int, bottom: int, right: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


BOX = mask_of(5, 6, 25, 20)
ROW = [encode_rle(BOX), HEIGHT, WIDTH, 1]  # behind the name in a table


def photo_of(mask: np.ndarray) -> Image.Image:
    """A black photo that is white where the mask is."""
    return Image.fromarray(mask.astype(np.uint8) * 255).convert("RGB")


def save_photo(path: Path, mask: np.ndarray = BOX, orientation: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {"quality": 95} if path.suffix.lower() in (".jpg", ".jpeg") else {}
    photo_of(mask).save(path, exif=exif_of(orientation), **settings)
    return path


def save_turned(path: Path, upright: np.ndarray, orientation: int) -> None:
    """A photo that looks like ``upright`` when its EXIF rotation is applied."""
    stored = photo_of(upright).transpose(TURNED[orientation])
    save_photo(path, np.asarray(stored.convert("L")) > 127, orientation)


def write_csv(folder: Path, *rows: list, header: list = COLUMNS) -> Path:
    with (folder / "table.csv").open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
        csv.writer(file).writerows([header, *rows])
    return folder / "table.csv"


def read(df_path: Path, image_folder: Path, classes: ClassTable = CLOTHES, **options) -> LabelTable:
    return read_labels(str(df_path), str(image_folder), classes, **options)


def training_photos(table: LabelTable, size: tuple[int, int]) -> TrainingPhotos:
    present = torch.ones(len(table), 4, dtype=torch.bool)
    return TrainingPhotos([LoadedSource(Source("photographs", "", None), table, present)], size, 0.5, 0.5)


def assert_in_register(table: LabelTable) -> None:
    """The labels of each photo lie where it is white, as they are trained on and as they are compared with."""
    photos = EvaluationPhotos(table)
    training = training_photos(table, (64, 48))
    for index in range(len(table)):
        photo, label = photos[index]
        assert label.shape == photo.size[::-1] == table.size(index)
        assert ((np.asarray(photo.convert("L")) > 127) == (label > 0)).mean() > 0.97
        assert label.any()
        sample = training[Draw(0, index, 0)]
        assert ((sample.image[0] > 0) == (sample.label > 0)).float().mean() > 0.95


def assert_usable(table: LabelTable) -> None:
    """Every photo has a label map of its size, with nothing but classes."""
    table.lines()
    for index in range(len(table)):
        label = table.label_map(index)
        assert label.shape == table.size(index)
        assert set(np.unique(label).tolist()) <= {0, 1, 2, 3, 254, 255}
