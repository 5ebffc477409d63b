"""A predictor against the truth of a label table."""

import copy
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image
from torch import nn

from data.imaterialist_dataset import photo_and_label
from data.imaterialist_table import LabelTable
from data.photo import PhotoError
from networks.checkpoint import CheckpointInfo
from networks.predictor import Predictor
from utils.distributed import rank, world_size
from utils.interruption import Interruption
from utils.metrics import ConfusionMatrix


def predictions(
    predictor: Predictor, table: LabelTable, indices: Iterable[int], close_ups: bool = False
) -> Iterator[tuple[int, Image.Image, np.ndarray, np.ndarray]]:
    """(index, photo, truth, prediction) of each photo, the maps H x W uint8 at the photo's own size.

    close_ups: of each the head and shoulders alone. The next photo is decoded while the network is at work. One
    that cannot be decoded is reported and left out.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for index in [*indices, None]:
            following = None if index is None else (index, pool.submit(photo_and_label, table, index, close_ups))
            if waiting is not None:
                current, loaded = waiting
                try:
                    photo, truth = loaded.result()
                except PhotoError as error:
                    print(f"left out: {table.files[current]}: {error}", file=sys.stderr)
                else:
                    yield current, photo, truth, predictor.predict([photo])[0]
            waiting = following


def validate(
    network: nn.Module,
    info: CheckpointInfo,
    table: LabelTable,
    device: torch.device,
    precision: str,
    interruption: Interruption | None = None,
) -> dict[str, float]:
    """IoU of each class and their means over a table, at the photographs' own sizes, split over the ranks.

    An interruption ends it early, with figures of the photographs so far.
    """
    predictor = Predictor(copy.deepcopy(network), info, device, precision)
    matrix = ConfusionMatrix(len(info.class_names))
    for _, _, truth, prediction in predictions(predictor, table, range(rank(), len(table), world_size())):
        matrix.update(truth, prediction)
        if interruption and interruption.noted:
            break
    matrix.reduce(device)
    ious = {f"iou_{name}": value for name, value in zip(info.class_names, matrix.iou().tolist(), strict=True)}
    means = {"miou": matrix.mean_iou(), "miou_clothes": matrix.mean_clothes_iou(), "clothes_iou": matrix.clothes_iou()}
    return ious | means
