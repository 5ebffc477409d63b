"""Photos in any form that Python programs have them in."""

import io
import os
from typing import BinaryIO

import numpy as np
from PIL import Image

from data.photos.open import PhotoError, open_photo, orientation, reason, to_rgb

Photo = Image.Image | np.ndarray | str | os.PathLike | bytes | BinaryIO
TAKES = "give a path, the bytes of a file, a binary file, a PIL image, or a uint8 array of H x W x 3 or H x W"


def take_photo(source: Photo, bgr: bool = False, upright: bool = True) -> Image.Image:
    """An RGB photo of what a program has; an RGB image that is upright is returned as it is.

    source: path, bytes of a file, binary file, PIL image of any mode, or array H x W x 3 or H x W uint8. bgr: whether
    the channels of an array are in OpenCV's order. upright: apply the EXIF rotation. Raises PhotoError.
    """
    if bgr and not isinstance(source, np.ndarray):
        raise PhotoError(f"bgr is for arrays, not for {_described(source)}")
    if isinstance(source, str | os.PathLike):
        return open_photo(os.fspath(source), upright=upright)
    if isinstance(source, bytes | bytearray | memoryview):
        return open_photo(io.BytesIO(bytes(source)), upright=upright)
    if isinstance(source, np.ndarray):
        return _from_array(source, bgr)
    if isinstance(source, Image.Image):
        return _from_image(source, upright)
    if hasattr(source, "read"):
        try:
            content = source.read()
        except (OSError, ValueError) as error:  # closed, or only to be written to
            raise PhotoError(f"the file cannot be read ({error})") from None
        if content == b"":
            raise PhotoError("the file is empty, or was read to its end before; if so, call its seek(0)")
        if isinstance(content, bytes):
            return open_photo(io.BytesIO(content), upright=upright)
    raise PhotoError(f"cannot take {_described(source)} as a photo; {TAKES}")


def _from_array(array: np.ndarray, bgr: bool) -> Image.Image:
    colour = array.ndim == 3 and array.shape[2] == 3
    if array.dtype != np.uint8 or not (colour or array.ndim == 2) or array.size == 0:
        raise PhotoError(f"cannot take {_described(array)} as a photo; {TAKES}")
    if bgr and not colour:
        raise PhotoError(f"bgr is for arrays of H x W x 3, not for {_described(array)}")
    return Image.fromarray(np.ascontiguousarray(array[..., ::-1] if bgr else array)).convert("RGB")


def _from_image(image: Image.Image, upright: bool) -> Image.Image:
    if 0 in image.size:
        raise PhotoError(f"cannot take {_described(image)} as a photo; it has no pixels")
    plain = image.mode == "RGB" and not ({"icc_profile", "transparency"} & image.info.keys())
    try:
        if plain and not (upright and orientation(image) > 1):
            image.load()
            return image
        return to_rgb(image.convert("LA") if image.mode == "La" else image, upright)  # Pillow turns La into LA alone
    except (PhotoError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise what they like on broken files
        if "closed" in str(error) or (getattr(image, "tile", None) and image.fp is None):  # opened, but not read
            raise PhotoError("the PIL image is closed; use it inside its with block, or load() it there") from None
        raise PhotoError(reason(error)) from None


def _described(source: object) -> str:
    if isinstance(source, np.ndarray):
        return f"an array of {' x '.join(map(str, source.shape)) or 'no dimensions'} {source.dtype}"
    if isinstance(source, Image.Image):
        return f"a PIL image of {source.height} x {source.width} {source.mode}"
    return f"a {type(source).__module__}.{type(source).__qualname__}".replace("builtins.", "")
