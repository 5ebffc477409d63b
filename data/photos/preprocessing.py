"""From a photograph to what the network sees. Needs no PyTorch: engines that do without it start fast."""

import cv2
import numpy as np
from PIL import Image

from data.constants import MEAN, STD


def prepare(photo: Image.Image, size: tuple[int, int], mean: float = MEAN, std: float = STD) -> np.ndarray:
    """RGB photo -> 3 x h x w float32 at ``size`` = (h, w), normalised."""
    return normalise(photo.resize(size[::-1], Image.Resampling.BILINEAR), mean, std)


def normalise(photo: Image.Image, mean: float, std: float) -> np.ndarray:
    """RGB photo -> 3 x H x W float32, (value in 0..1 - mean) / std."""
    table = (np.arange(256, dtype=np.float32) * np.float32(1 / 255) - np.float32(mean)) / np.float32(std)
    pixels = np.asarray(photo)
    planes = np.empty((3, *pixels.shape[:2]), np.float32)
    for channel, plane in enumerate(planes):
        cv2.LUT(cv2.extractChannel(pixels, channel), table, plane)
    return planes


def denormalise(image: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Normalised ... x 3 x H x W float32 -> the same shape in uint8 RGB."""
    return ((image * std + mean) * 255).round().clip(0, 255).astype(np.uint8)
