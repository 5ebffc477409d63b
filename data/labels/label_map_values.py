"""The values of a label map, whichever way a program or an editor saved them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from data.labels.rle import LabelError
from data.photos.open import MAX_MEGAPIXELS, reason
from utils.label_values import PALETTE, UNKNOWN

SCALED_BY = {"L;2": 85, "L;4": 17}  # Pillow spreads grey of 2 and 4 bits over 0 to 255
PUBLISHED = {tuple(colour): value for value, colour in enumerate(PALETTE.tolist())}
Colour = tuple[int, int, int]


def read_label_map(path: Path) -> np.ndarray:
    """The values of a PNG: H x W, unsigned. Raises LabelError.

    They are its grey values or places in its palette; of a coloured one those that the published colours stand for, or
    else the red channel's where the others are empty. What is transparent is unknown, unless it is background.
    """
    image, raw_mode = open_map(path)
    if image.mode == "P":
        return _without_reordering(np.asarray(image), np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3))
    values = np.asarray(image)
    if values.ndim == 2:
        return values.astype(np.uint8) if image.mode == "1" else values // SCALED_BY.get(raw_mode, 1)
    channels, alpha = (values[..., :-1], values[..., -1]) if image.mode in ("LA", "RGBA") else (values, None)
    grey = channels[..., 0]
    if (channels != grey[..., None]).any():
        try:
            grey = values_of_colours(channels, PUBLISHED)
        except LabelError:
            if channels[..., 1:].any():
                raise
    return grey if alpha is None else np.where((alpha == 0) & (grey != 0), UNKNOWN, grey)


def open_map(path: Path) -> tuple[Image.Image, str]:
    """A PNG, decoded, and Pillow's word for how its pixels are stored. Raises LabelError."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            raw_mode = image.tile[0][3]
            if raw_mode.endswith(";16B") and image.mode != "I;16":  # Pillow keeps the upper 8 bits
                raise LabelError("label map of 16 bits in several channels", "save it with 8 bits, or as grey")
            image.load()
            return image, raw_mode
    except LabelError:
        raise
    except Image.DecompressionBombError:
        raise LabelError(f"label map of more than {MAX_MEGAPIXELS} megapixels") from None
    except Image.UnidentifiedImageError:
        raise LabelError("label map that is not a PNG") from None
    except Exception as error:  # Pillow's decoders raise what they like on broken files
        raise LabelError("label map that cannot be read", reason(error)) from None


def values_of_colours(colours: np.ndarray, value_of: Mapping[Colour, int]) -> np.ndarray:
    """The value of each pixel of an H x W x 3 uint8 picture. Raises LabelError on a colour that has none."""
    red, green, blue = np.moveaxis(colours.astype(np.int32), 2, 0)
    found, places = np.unique((red << 16) | (green << 8) | blue, return_inverse=True)
    triples = [(code >> 16, code >> 8 & 255, code & 255) for code in found.tolist()]
    for place, colour in enumerate(triples):
        if colour not in value_of:
            row, column = np.argwhere(places.reshape(red.shape) == place)[0].tolist()
            raise LabelError("label map with a colour that stands for no class", f"{colour} at x {column}, y {row}")
    return np.array([value_of[colour] for colour in triples])[places].reshape(red.shape)


def _without_reordering(places: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Values of a map with a palette: places in it, unless it has the published colours in another order.

    Editors and optimisers sort palettes. places: H x W uint8. palette: C x 3 uint8.
    """
    used = np.unique(places)
    if used[-1] >= len(palette):
        return places
    colours = [tuple(colour) for colour in palette[used].tolist()]
    values = [PUBLISHED.get(colour) for colour in colours]
    grey = any(r == g == b != 0 for r, g, b in colours)
    if grey or None in values or len(set(values)) < len(values):
        return places
    value_of = np.arange(256)
    value_of[used] = values
    return value_of[places]
