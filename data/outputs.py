"""Output formats: every way to write a segmentation."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data.rle import encode_rle
from data.segmentation import Segmentation
from utils.labels import PALETTE

JPEG_SIDE = 65_500  # pixels, the format's limit


def palette_image(result: Segmentation) -> Image.Image:
    """Palette image whose pixel values are the labels and whose colours are the published ones.

    It has all 256 colours: Pillow saves an image of 4 colours with 2 bits a pixel, which other readers get wrong.
    """
    image = label_image(result)
    image.putpalette(PALETTE.tobytes())
    return image


def label_image(result: Segmentation) -> Image.Image:
    """Greyscale image whose pixel values are the labels: nearly black to look at, the plainest to read."""
    return Image.fromarray(result.labels)


def binary_image(result: Segmentation) -> Image.Image:
    """Greyscale mask: 255 on clothes, 0 elsewhere."""
    return Image.fromarray((result.labels > 0).astype(np.uint8) * 255)


def cutout_image(result: Segmentation) -> Image.Image:
    """RGBA of the photo, transparent but for the clothes."""
    # From the bare pixels: a copy of the photo would keep its colour profile and other metadata.
    return Image.fromarray(np.dstack((np.asarray(result.photo), np.asarray(binary_image(result)))))


def blended_image(result: Segmentation) -> Image.Image:
    """Photo under the colours: RGB."""
    clothes = Image.fromarray((result.labels > 0).astype(np.uint8) * 140)
    return Image.composite(palette_image(result).convert("RGB"), result.photo, clothes)


def overlay_image(result: Segmentation) -> Image.Image:
    """Photo, photo under the colours, and mask, side by side: RGB, H x 3W; shrunk where a JPEG cannot be so large."""
    width, height = result.photo.size
    sheet = Image.new("RGB", (3 * width, height))
    for i, panel in enumerate((result.photo, blended_image(result), palette_image(result))):
        sheet.paste(panel, (i * width, 0))
    sheet.thumbnail((JPEG_SIDE, JPEG_SIDE))
    return sheet


def report(result: Segmentation) -> dict:
    """Per class: present, area in pixels, share of the photo, box [left, top, right, bottom), run-lengths.

    The run-lengths are Kaggle's: one-based, column-major "start length" pairs.
    """
    height, width = result.labels.shape
    classes = {}
    for value, name in enumerate(result.class_names[1:], 1):
        mask = (result.labels == value).astype(np.uint8)
        area = int(np.count_nonzero(mask))
        left, top, w, h = cv2.boundingRect(mask)
        classes[name] = {
            "present": area > 0,
            "area": area,
            "share": round(area / mask.size, 6),
            "box": [left, top, left + w, top + h] if area else None,
            "rle": encode_rle(mask.astype(bool)),
        }
    return {"height": height, "width": width, "classes": classes}


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@dataclass(frozen=True)
class Format:
    suffix: str
    content_type: str
    needs_photo: bool
    encode: Callable[[Segmentation], bytes]


FORMATS = {
    "mask": Format(".png", "image/png", False, lambda result: _png(palette_image(result))),
    "labels": Format(".png", "image/png", False, lambda result: _png(label_image(result))),
    "binary": Format(".png", "image/png", False, lambda result: _png(binary_image(result))),
    "cutout": Format(".png", "image/png", True, lambda result: _png(cutout_image(result))),
    "overlay": Format(".jpg", "image/jpeg", True, lambda result: _jpeg(overlay_image(result))),
    "json": Format(".json", "application/json", False, lambda result: json.dumps(report(result)).encode()),
}


def result_path(folder: Path, name: Path, output: str, category: str) -> Path:
    """Where a result goes below ``folder``. name: of the photo's results, without suffix.

    The plain mask stands directly in the folder; every other kind has a folder of its own, such as binary_upper.
    """
    below = "" if (output, category) == ("mask", "any") else f"{output}_{category}"
    return folder / below / name.with_name(name.name + FORMATS[output].suffix)
