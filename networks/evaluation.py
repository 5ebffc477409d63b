"""A predictor against the truth of a label table."""

import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from data.imaterialist_dataset import photo_and_label
from data.imaterialist_table import LabelTable
from data.photo import PhotoError
from networks.predictor import Predictor


def predictions(
    predictor: Predictor, table: LabelTable, indices: Iterable[int]
) -> Iterator[tuple[int, Image.Image, np.ndarray, np.ndarray]]:
    """(index, photo, truth, prediction) of each photo, the maps H x W uint8 at the photo's own size.

    The next photo is decoded while the network is at work. One that cannot be decoded is reported and left out.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for index in [*indices, None]:
            following = None if index is None else (index, pool.submit(photo_and_label, table, index))
            if waiting is not None:
                current, loaded = waiting
                try:
                    photo, truth = loaded.result()
                except PhotoError as error:
                    print(f"left out: {table.files[current]}: {error}", file=sys.stderr)
                else:
                    yield current, photo, truth, predictor.predict([photo])[0]
            waiting = following
