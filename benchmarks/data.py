"""How fast a training sample is made: python -m benchmarks.data

One photograph with seven rows of labels -> one normalised 768x768 sample, on one core, at each size of the stored
photograph. "published" is the published way, written afresh: the photo is decoded at full size, each row is drawn at
full size and resized by itself. "this project" is data.training.datasets.TrainingPhotos. Both in turn, medians.
"""

from dataclasses import dataclass

from options.base_options import BaseOptions, option


@dataclass
class DataOptions(BaseOptions):
    """How fast a training sample is made on this machine."""

    photo: str = option("input_images/eileen_collins.jpg", "photo, resized to each of the sizes")
    sizes: list[str] = option(("550x830", "1650x2490"), "width x height of the stored photo")
    repeats: int = option(30, "samples of each size", at_least=1)


if __name__ == "__main__":
    options = DataOptions.from_command_line()

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torchvision import transforms

from benchmarks.harness import interleaved_medians, read_photo
from data.classes import CLOTHES
from data.constants import MEAN, SIZE, STD
from data.labels.imaterialist import COLUMNS
from data.labels.read import read_labels
from data.labels.rle import encode_rle
from data.training.datasets import LoadedSource, TrainingPhotos
from data.training.sampler import Draw
from data.training.sources import Source
from data.tryon.presets import Fit
from utils.errors import UserError, run_program

CATEGORIES = [1, 6, 10, 13, 23, 31, 33]  # a top, trousers, a dress, and four that are background
LEAST_SIDE = 32  # of a photo: the smallest label would vanish on smaller ones
normalised = transforms.Compose([transforms.ToTensor(), transforms.Normalize([MEAN] * 3, [STD] * 3)])


def main(options: DataOptions) -> None:
    torch.set_num_threads(1)
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            height, width = Fit.parse(size).size
            if min(height, width) < LEAST_SIDE:
                raise UserError(f"--sizes {size}: the labels need {LEAST_SIDE} pixels; give larger ones")
            table = make_data(Path(folder), Path(options.photo), width, height)
            rows = pd.read_csv(table)
            labels, present = read_labels(str(table), folder, CLOTHES), torch.ones(1, len(CLOTHES.names), dtype=bool)
            source = LoadedSource(Source("photographs", folder, str(table)), labels, present)
            ours = TrainingPhotos([source], (SIZE, SIZE), MEAN, STD)
            ways = {
                "published": partial(published_sample, Path(folder), rows),
                "this project": partial(ours.__getitem__, Draw(0, 0, 0)),
            }
            seconds = interleaved_medians(ways, options.repeats)
        ratio = seconds["published"] / seconds["this project"]
        shown = ", ".join(f"{name} {1000 * value:.1f} ms" for name, value in seconds.items())
        print(f"{size}: {shown}: {ratio:.1f} times as fast")


def make_data(folder: Path, photo: Path, width: int, height: int) -> Path:
    """A photo and its table with an ellipse for each of CATEGORIES: path of the table."""
    read_photo(photo).resize((width, height), Image.Resampling.LANCZOS).save(folder / "photo.jpg")
    y, x = np.mgrid[:height, :width]
    rows = []
    for i, category in enumerate(CATEGORIES):
        centre, radius = (0.15 + 0.1 * i) * height, 0.3 - 0.03 * i
        mask = ((x / width - 0.5) / radius) ** 2 + ((y - centre) / height / radius) ** 2 < 1
        rows.append(("photo.jpg", encode_rle(mask), height, width, category))
    pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(folder / "labels.csv", index=False)
    return folder / "labels.csv"


def published_sample(folder: Path, rows: pd.DataFrame) -> tuple[torch.Tensor, torch.Tensor]:
    """(image 3 x SIZE x SIZE, label SIZE x SIZE) as the published code makes them."""
    photo = Image.open(folder / "photo.jpg").convert("RGB")
    image = normalised(photo.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    layers = np.zeros((3, SIZE, SIZE), np.uint8)
    for row in rows.itertuples():
        numbers = np.array(row.EncodedPixels.split(), int)
        flat = np.zeros(row.Height * row.Width, np.uint8)
        for start, length in zip(numbers[0::2] - 1, numbers[1::2], strict=True):
            flat[start : start + length] = 1
        mask = Image.fromarray(flat.reshape(row.Height, row.Width, order="F"))
        mask = np.asarray(mask.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
        for layer, ids in zip(layers, CLOTHES.ids, strict=True):
            if row.ClassId in ids:
                layer += mask
    label = sum(value * (layer > 0) for value, layer in enumerate(layers, 1)).clip(max=3)
    return image, torch.as_tensor(label, dtype=torch.long)


if __name__ == "__main__":
    run_program(main, options)
