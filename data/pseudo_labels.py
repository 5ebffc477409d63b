"""Labels that a network gives where it is sure, and their rows in a label table."""

from collections.abc import Sequence

import numpy as np

from data.classes import ClassTable
from data.imaterialist_table import WORDS
from data.rle import encode_rle
from utils.labels import SOME_CLOTHES, UNKNOWN

LEAST_PRESENT = 0.3  # of the probability must be on classes that can be there, or these say nothing


def confident_labels(
    probability: np.ndarray, present: Sequence[bool], confidence: float, clothes_confidence: float
) -> np.ndarray:
    """Label map (H x W uint8) of what is known, given the classes that can be there.

    probability: C x H x W float32. present: C bool, background included. A pixel gets the most probable present class
    if that has more than ``confidence`` of the present classes' probability. Else, where the network has more than
    ``clothes_confidence`` for clothes, whatever their class, and some are present, it gets SOME_CLOTHES; else UNKNOWN.
    """
    present = np.asarray(present, bool)
    of_present = probability * present[:, None, None]
    total = of_present.sum(0)
    share = of_present / np.maximum(total, np.finfo(np.float32).tiny)
    sure = (share.max(0) > confidence) & (total >= LEAST_PRESENT)
    clothes = (1 - probability[0] > clothes_confidence) & bool(present[1:].any())
    return np.where(sure, share.argmax(0), np.where(clothes, SOME_CLOTHES, UNKNOWN)).astype(np.uint8)


def table_rows(image_id: str, labels: np.ndarray, classes: ClassTable) -> list[tuple]:
    """Rows (image id, run-lengths, height, width, ClassId) of a label map, one for each of its values.

    A class is written as the first of its categories, and pixels without one as a word (``WORDS``). A photo that is
    background all over gets a row without run-lengths.
    """
    category = {value: str(ids[0]) for value, ids in enumerate(classes.ids, 1)}
    category |= {-number: word for word, number in WORDS.items()}
    height, width = labels.shape
    found = {value: labels == value for value in np.unique(labels).tolist() if value}
    if not found:
        return [(image_id, "", height, width, "")]
    return [(image_id, encode_rle(mask), height, width, category[value]) for value, mask in found.items()]
