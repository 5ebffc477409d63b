"""Output formats: every way to write a segmentation."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco

from data.photos.folder import result_names
from data.photos.open import PhotoError
from data.results.outlines import polygons
from data.results.postprocess import nearest_pixels
from data.results.segmentation import Segmentation
from utils.label_values import PALETTE

JPEG_SIDE = 65_500  # pixels, the format's limit
FEATHER = 0.0015  # of the diagonal, at least 1.5 pixels: how far a soft edge reaches to either side of the label's edge
NEARLY_FULL = 0.9  # a photo with more clothes than this share likely shows something else
LOW_CONFIDENCE = 0.75  # mean probability: what photos below it are worth is in docs/outputs.md


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


def probability_image(result: Segmentation) -> Image.Image:
    """16-bit greyscale: the network's probability of the category, 0 to 65535. Post-processing does not change it."""
    values = np.empty(result.labels.shape, np.uint16)
    for rows, part in result.probability_strips(result.category):
        values[rows] = np.rint(part * 65535)
    return Image.fromarray(values)


def cutout_image(result: Segmentation, background: tuple[int, int, int] | None = None) -> Image.Image:
    """RGBA of the photo, transparent but for the clothes; on a ``background`` colour RGB.

    Where it is transparent nothing of the photo is left: those pixels are black.

    Edges are soft where there are probabilities: within FEATHER of the label's edge, alpha is the category's
    probability as far as a straight ramp across that band lets it. So it is 255 or 0 at the band's ends, and a soft
    edge of the network's width where that is narrower. Pixels that are neither 255 nor 0 take the colour of the
    nearest pixel behind the band, because their own is mixed with what was behind the clothes.
    """
    # From the bare pixels: a copy of the photo would keep its colour profile and other metadata.
    pixels = np.dstack((np.asarray(result.photo), np.asarray(binary_image(result))))
    if result.has_probabilities and result.labels.any():
        _soften(pixels, result)
    pixels[pixels[..., 3] == 0] = 0
    cutout = Image.fromarray(pixels)
    if background is None:
        return cutout
    picture = Image.new("RGB", cutout.size, background)
    picture.paste(cutout, mask=cutout.getchannel("A"))
    return picture


def _soften(pixels: np.ndarray, result: Segmentation) -> None:
    """Give a cut-out, H x W x 4 uint8, its soft edges. Worked on in strips: distances take much memory."""
    reach = max(1.5, FEATHER * float(np.hypot(*result.size)))
    halo = int(np.ceil(4 * reach))
    for rows, probability in _joined(result.probability_strips(result.category), 2 * halo):
        top = max(0, rows.start - halo)
        own = slice(rows.start - top, rows.stop - top)  # of what is seen, the rows that are changed
        inside = result.labels[top : rows.stop + halo] > 0
        if inside.all() or not inside.any():
            continue
        depth = _distance(inside) - _distance(~inside)
        depth -= np.sign(depth) / 2  # from the edge, which lies between pixels; positive inside
        ramp = (0.5 + depth[own] / (2 * reach)).clip(0, 1)
        alpha = np.where(inside[own], np.maximum(probability, ramp), np.minimum(probability, ramp))
        alpha = np.rint(255 * alpha).astype(np.uint8)
        pure = depth >= reach
        away, nearest = nearest_pixels(pure)
        # A strap narrower than the band has no such pixel near and keeps its colours.
        mixed = (alpha > 0) & (alpha < 255) & (away[own] <= 3 * reach)
        source = nearest[own][mixed] + top * pixels.shape[1]
        colours = pixels.reshape(-1, 4)[source, :3]
        pixels[rows][..., 3] = alpha
        pixels[rows][mixed, :3] = colours


def _joined(strips: Iterator[tuple[slice, np.ndarray]], least: int) -> Iterator[tuple[slice, np.ndarray]]:
    """The same strips, joined to ``least`` rows and more: each is looked at with the rows around it."""
    parts, start = [], 0
    for rows, part in strips:
        parts.append(part)
        if rows.stop - start >= least:
            yield slice(start, rows.stop), np.concatenate(parts)
            parts, start = [], rows.stop
    if parts:
        yield slice(start, rows.stop), np.concatenate(parts)


def _distance(mask: np.ndarray) -> np.ndarray:
    """Distance of each pixel of a mask from the nearest one outside of it: H x W float32, 0 outside."""
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


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
    """Warning, and per class: present, area in pixels, share of the photo, box [left, top, right, bottom), confidence,
    COCO's compressed run-lengths and polygons.

    Confidence is the mean probability of the class over its pixels. It is null where there are none, or no
    probabilities.
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
            "confidence": None if np.isnan(confidence := result.confidence[value]) else round(float(confidence), 4),
            "coco_rle": {"size": [height, width], "counts": coco.encode(np.asfortranarray(mask))["counts"].decode()},
            "polygons": polygons(mask),
        }
    return {"height": height, "width": width, "warning": warning(result), "classes": classes}


def warning(result: Segmentation) -> str | None:
    """Why a photograph should be looked at: "empty", "nearly full", "low confidence", or None."""
    area = np.bincount(result.labels.ravel(), minlength=len(result.class_names))
    if not area[1:].any():
        return "empty"
    if area[1:].sum() > NEARLY_FULL * area.sum():
        return "nearly full"
    known = area * np.isfinite(result.confidence)  # not where only rows between the sampled ones have the class
    low = result.has_probabilities and np.nansum(result.confidence * known) < LOW_CONFIDENCE * known[1:].sum()
    return "low confidence" if low else None


def garment_box(labels: np.ndarray, margin: float) -> tuple[int, int, int, int]:
    """Box [left, top, right, bottom) of the clothes of an H x W label map, with room around it inside the photo.

    margin: share of the box's longer side. The whole photo where there are no clothes.
    """
    height, width = labels.shape
    left, top, w, h = cv2.boundingRect((labels > 0).astype(np.uint8))
    if not w:
        return 0, 0, width, height
    room = round(margin * max(w, h))
    return max(0, left - room), max(0, top - room), min(width, left + w + room), min(height, top + h + room)


def image_file(image: Image.Image, kind: str, **settings) -> bytes:
    """An image as a file. kind: Pillow's name of the format. settings: of its writer."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def png(image: Image.Image) -> bytes:
    return image_file(image, "PNG", compress_level=4)


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    """Raises PhotoError where the image is larger than a JPEG can be."""
    if max(image.size) > JPEG_SIDE:
        raise PhotoError(f"a JPEG cannot have {max(image.size)} pixels on a side; scale the photo down")
    return image_file(image, "JPEG", quality=quality)


def _json(result: Segmentation, box: tuple[int, int, int, int] | None = None) -> bytes:
    return json.dumps(report(result) | ({"crop": list(box)} if box else {})).encode()


@dataclass(frozen=True)
class Format:
    suffix: str
    content_type: str
    needs_photo: bool
    encode: Callable[[Segmentation], bytes]


def encoded(
    result: Segmentation,
    output: str,
    background: tuple[int, int, int] | None = None,
    box: tuple[int, int, int, int] | None = None,
) -> bytes:
    """A result as a file of one of FORMATS.

    background: RGB behind cut-outs. box: what pictures are cropped to. JSON reports stay in pixels of the whole photo
    and name the box, as "crop".
    """
    if output == "json":
        return _json(result, box)
    part = result.cropped(box) if box else result
    return png(cutout_image(part, background)) if output == "cutout" else FORMATS[output].encode(part)


FORMATS = {
    "mask": Format(".png", "image/png", False, lambda result: png(palette_image(result))),
    "labels": Format(".png", "image/png", False, lambda result: png(label_image(result))),
    "binary": Format(".png", "image/png", False, lambda result: png(binary_image(result))),
    "probability": Format(".png", "image/png", False, lambda result: png(probability_image(result))),
    "cutout": Format(".png", "image/png", True, lambda result: png(cutout_image(result))),
    "overlay": Format(".jpg", "image/jpeg", True, lambda result: jpeg(overlay_image(result))),
    "json": Format(".json", "application/json", False, _json),
}


def result_path(folder: Path, name: Path, output: str, category: str) -> Path:
    """Where a result goes below ``folder``. name: of the photo's results, without suffix.

    The plain mask stands directly in the folder; every other kind has a folder of its own, such as binary_upper.
    """
    below = "" if (output, category) == ("mask", "any") else f"{output}_{category}"
    return folder / below / name.with_name(name.name + FORMATS[output].suffix)


@dataclass(frozen=True)
class OutputLayout:
    """What infer.py writes of each photograph: results of these formats, for each of these categories.

    background: RGB behind cut-outs, or None. crop_margin: room around the clothes that pictures are cropped to, as a
    share of their box's longer side; None: not cropped.
    """

    outputs: list[str]
    categories: list[str]
    background: tuple[int, int, int] | None = None
    crop_margin: float | None = None
    # What only a try-on Preset may have: folders that tell photos from results, a size that photos are brought to.
    has_folders, fit = False, None

    @property
    def needs_photo(self) -> bool:
        return any(FORMATS[output].needs_photo for output in self.outputs)

    def paths(self, folder: Path, name: Path) -> dict[tuple[str, str], Path]:
        """Where the results of a photograph go, by (format, category)."""
        wanted = [(output, category) for output in self.outputs for category in self.categories]
        return {each: result_path(folder, name, *each) for each in wanted}

    def names(self, photos: list[Path]) -> dict[Path, Path]:
        """The name of each photo's results."""
        return result_names(photos)

    def encoder(self, result: Segmentation, _name: Path) -> Callable[[str, str], bytes]:
        """A function that makes the file of a format and category for a photo."""
        box, labels = None, result.labels
        if self.crop_margin is not None:  # all pictures alike, to the clothes of all categories that are written
            if "any" not in self.categories:
                labels = np.isin(labels, [result.class_names.index(category) for category in self.categories])
            box = garment_box(labels, self.crop_margin)
        return lambda output, category: encoded(result.only(category), output, self.background, box)
