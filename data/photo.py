"""Open photographs: any format, any colour mode, upright, bounded."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

try:  # iPhone photographs
    from pi_heif import register_heif_opener
except ImportError:
    pass
else:
    register_heif_opener()

MAX_MEGAPIXELS = 200
Image.MAX_IMAGE_PIXELS = None  # the limit is checked below, with a message that says what to do


class PhotoError(ValueError):
    """A photograph that cannot be used; the message says why in one line."""


def open_photo(
    source: str | Path | BinaryIO,
    min_size: tuple[int, int] | None = None,
    upright: bool = True,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Image.Image:
    """An RGB photograph.

    source: path or binary file. min_size: (height, width) that suffices; a larger JPEG is then decoded
    at a reduced scale that is not smaller. upright: apply the EXIF rotation. Greyscale, 16-bit, palette
    and CMYK become RGB; transparency is laid over white. Raises PhotoError.
    """
    try:
        with Image.open(source) as photo:
            width, height = photo.size
            if width * height > max_megapixels * 1e6:
                raise PhotoError(
                    f"{width * height / 1e6:.0f} megapixels are over the limit of {max_megapixels:g}; shrink the photo"
                )
            if min_size is not None:
                photo.draft("RGB", (min_size[1], min_size[0]))
            photo.load()
            if upright:
                photo = ImageOps.exif_transpose(photo)
            return to_rgb(photo)
    except PhotoError:
        raise
    except FileNotFoundError:
        raise PhotoError("no such file") from None
    except Image.UnidentifiedImageError:
        raise PhotoError("not an image in a format that Pillow reads") from None
    except Exception as error:  # Pillow's decoders raise what they like on broken files
        raise PhotoError(f"broken image ({' '.join(str(error).split()) or type(error).__name__})") from None


def to_rgb(photo: Image.Image) -> Image.Image:
    """Convert any Pillow mode to RGB; 16-bit grey is scaled, transparency laid over white."""
    if photo.mode.startswith("I"):
        grey = np.asarray(photo).astype(np.int64)
        photo = Image.fromarray((grey >> 8 if grey.max() > 255 else grey).clip(0, 255).astype(np.uint8))
    if photo.has_transparency_data:
        rgba = photo.convert("RGBA")
        photo = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return photo.convert("RGB")
