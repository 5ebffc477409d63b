"""What a label map can be written as: the one place for every output format."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from data.rle import encode_rle

JPEG_SIDE = 65_500  # pixels, the format's limit


@dataclass(frozen=True)
class Segmentation:
    """A photograph and its label map.

    labels: H x W uint8, values are indices into class_names (0 is background). photo: RGB of that size;
    None where no format that needs it is asked for. palette: C x 3 uint8 RGB.
    """

    labels: np.ndarray
    class_names: tuple[str, ...]
    palette: np.ndarray
    photo: Image.Image | None = None

    def only(self, category: str) -> "Segmentation":
        """The same with every class but ``category`` made background; 'any' keeps them all."""
        if category == "any":
            return self
        value = self.class_names.index(category)
        kept = np.where(self.labels == value, self.labels, np.uint8(0))
        return Segmentation(kept, self.class_names, self.palette, self.photo)


def label_image(result: Segmentation) -> Image.Image:
    """Palette PNG whose pixel values are the labels."""
    image = Image.fromarray(result.labels, "L")
    image.putpalette(result.palette.tobytes())
    return image


def binary_image(result: Segmentation) -> Image.Image:
    """Greyscale mask: 255 on clothes, 0 elsewhere."""
    return Image.fromarray((result.labels > 0).astype(np.uint8) * 255, "L")


def cutout_image(result: Segmentation) -> Image.Image:
    """RGBA of the photo, transparent but for the clothes."""
    cutout = result.photo.copy()
    cutout.putalpha(binary_image(result))
    return cutout


def overlay_image(result: Segmentation) -> Image.Image:
    """Photo, photo under the colours, and mask, side by side: RGB, H x 3W; shrunk where a JPEG cannot be so large."""
    mask = label_image(result).convert("RGB")
    clothes = Image.fromarray((result.labels > 0).astype(np.uint8) * 140, "L")
    blended = Image.composite(mask, result.photo, clothes)
    width, height = result.photo.size
    sheet = Image.new("RGB", (3 * width, height))
    for i, panel in enumerate((result.photo, blended, mask)):
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
    "mask": Format(".png", "image/png", False, lambda result: _png(label_image(result))),
    "binary": Format(".png", "image/png", False, lambda result: _png(binary_image(result))),
    "cutout": Format(".png", "image/png", True, lambda result: _png(cutout_image(result))),
    "overlay": Format(".jpg", "image/jpeg", True, lambda result: _jpeg(overlay_image(result))),
    "json": Format(".json", "application/json", False, lambda result: json.dumps(report(result)).encode()),
}
