"""Distances between the pixels of a mask."""

import cv2
import numpy as np


def nearest_pixels(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(distance to the nearest pixel of a mask, that pixel's flat index), both H x W: float32 and intp.

    mask: H x W bool. Without a pixel in it, distances are larger than any photo, and the index is 0.
    """
    distance, number = cv2.distanceTransformWithLabels(
        (~mask).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    index = np.zeros(number.max() + 1, np.intp)
    index[number[mask]] = np.flatnonzero(mask)
    return distance, index[number]
