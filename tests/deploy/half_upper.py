"""A predictor without a network, for what lies around it."""

import numpy as np
from PIL import Image

from data.results.segmentation import Segmentation


class HalfUpper:
    """Calls the left half of every photo 'upper', and counts its passes."""

    class_names = ("background", "upper", "lower", "full")

    def __init__(self):
        self.passes = []

    def predict(self, photos: list[Image.Image]) -> list[Segmentation]:
        self.passes.append(len(photos))
        return [Segmentation.from_labels(self.half(photo), self.class_names, photo) for photo in photos]

    def half(self, photo: Image.Image) -> np.ndarray:
        return np.tile(np.uint8(np.arange(photo.width) < photo.width // 2), (photo.height, 1))
