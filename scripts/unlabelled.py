"""What the scripts share that label photographs with a network."""

import sys
from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from data.constants import IMAGENET_MEAN, IMAGENET_STD
from data.labels.csv_rows import read_rows
from data.labels.imaterialist import COLUMNS
from data.labels.rle import encode_rle
from data.photos.open import PhotoError, open_photo
from data.results.segmentation import Segmentation
from networks.engines.torch_engine import TorchEngine
from networks.predictor import Predictor
from networks.u2net import build_network
from networks.weights.info import CheckpointInfo
from networks.weights.surgery import initialise
from options.base_options import NetworkOptions
from utils.devices import resolve_device, resolve_precision
from utils.errors import UserError, escape_unprintable
from utils.files import write_csv

UNREADABLE = "cannot be read"
MEAN, STD = (np.array(values, np.float32) for values in (IMAGENET_MEAN, IMAGENET_STD))


def segmented(
    predictor: Predictor,
    folder: Path,
    photos: Collection,
    batch_size: int,
    left_out: Counter,
    threads: int = 2,
    keep_photos: bool = False,
) -> Iterator[tuple[Path | str, Segmentation]]:
    """(photo, what the network finds on it as it is stored) of ``photos``, paths below a folder.

    One that cannot be read is named and counted in ``left_out``, as UNREADABLE. threads: that decode. keep_photos: see
    Predictor.predict_stream.
    """
    with ThreadPoolExecutor(threads) as pool:
        results = predictor.predict_stream(
            photos, lambda photo: open_photo(folder / photo, upright=False), batch_size, pool, keep_photos
        )
        for photo, result in tqdm(results, total=len(photos), unit="photo"):
            if isinstance(result, PhotoError):
                left_out[UNREADABLE] += 1
                tqdm.write(f"skipped {escape_unprintable(folder / photo)}: {result}", file=sys.stderr)
            else:
                yield photo, result


class SaliencyNetwork(Predictor):
    """U-2-Net's saliency network, whose one class is what stands out. Raises UserError."""

    def __init__(self, options: NetworkOptions, size: int):
        """options: with ``saliency``, the weights. size: height and width that it sees."""
        network = build_network("u2netp", 1)
        if initialise(network, options.saliency).head:
            raise UserError(f"{options.saliency} is not a saliency network: it has more than one output channel")
        device = resolve_device(options.device)
        engine = TorchEngine(network, device, resolve_precision(options.precision, device))
        super().__init__(engine, CheckpointInfo(("salient",), size, size))

    def prepare(self, photo: Image.Image) -> np.ndarray:
        """With ImageNet's normalisation."""
        small = np.asarray(photo.resize(self.size, Image.Resampling.BILINEAR), np.float32)
        return ((small / 255 - MEAN) / STD).transpose(2, 0, 1)


def salience(result: Segmentation) -> np.ndarray:
    """How likely each pixel stands out, by a saliency network: H x W float32 in 0..1."""
    return cv2.resize(1 / (1 + np.exp(-result.logits[0].clip(-30, 30))), result.size[::-1])


def named_photos(option: str, table: str | None, photos: list[str]) -> set[str]:
    """Those of the photos (paths in their folder) that a table names, by path or file name; without a table none.

    option: that gives the table. Raises UserError where it names none.
    """
    if not table:
        return set()
    names = {cells[0] for cells, _ in read_rows(table, ["ImageId"], "table of photographs")}
    found = {photo for photo in photos if names & {photo, photo.rpartition("/")[2]}}
    if not found:
        raise UserError(f"{option} {table} names none of the photographs, which are called like {photos[0]}")
    return found


def label_rows(name: str, masks: dict[str, np.ndarray]) -> list[tuple]:
    """Rows (of COLUMNS) of a photo: of each mask (H x W bool), by ClassId, that is not empty."""
    return [(name, encode_rle(mask), *mask.shape, category) for category, mask in masks.items() if mask.any()]


def write_tables(folder: Path, tables: dict[str, list[tuple]], photos: Path, left_out: Counter) -> None:
    """Write label tables by name. Raises UserError where none has a row. photos: their folder."""
    if not any(tables.values()):
        raise UserError(f"no photograph of {photos} can be used: {listed(left_out)}")
    for name, rows in tables.items():
        write_csv(folder / f"{name}.csv", [COLUMNS, *rows])


def listed(counts: Counter) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())
