"""Open photographs: any format, any colour mode, upright, in sRGB, bounded."""

import io
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageCms

from data.photos.broken_metadata import without_metadata
from utils.errors import one_line

try:  # iPhone photographs
    from pi_heif import register_heif_opener
except ImportError:
    pass
else:
    register_heif_opener()

MAX_MEGAPIXELS = 250  # cameras of "200 megapixels" have up to 201.4
MAX_SCANS = 100  # of a JPEG, as libtiff allows: a few bytes of a scan cost as much time as all pixels
Image.MAX_IMAGE_PIXELS = MAX_MEGAPIXELS * 500_000  # Pillow refuses twice as many, of pictures inside files as well
# What Pillow warns of and logs is metadata; what is wrong with pixels is an error.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Values that stand for white in greyscale files of more than 8 bits: 0..1, 8, 10, 12 and 16 bits.
WHITES = (1, 255, 1023, 4095, 65535)
BITS_PER_SAMPLE, MAX_SAMPLE_VALUE, TILE_WIDTH, TILE_LENGTH = 258, 281, 322, 323  # TIFF tags
Image.preinit()  # the commonest formats first
Image.init()
# Pillow recognises the ones left out, but cannot read their pixels, or only with the help of another program.
FORMATS = [name for name in Image.ID if name not in ("BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF")]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
MODE_OF_PROFILE = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
JPEG_MARKER = re.compile(rb"\xff+([^\0\1\xd0-\xd7\xff])")  # those that others follow, or that end the image
LATTICE = np.stack(np.meshgrid(*3 * [np.arange(0, 256, 51, np.uint8)]), -1).reshape(-1, 6, 3)  # of RGB colours


class PhotoError(ValueError):
    """A photo that cannot be used; the message says why in one line."""


class TooLargeError(PhotoError):
    """A photo with more pixels than the limit."""


def photo_suffixes() -> set[str]:
    """Suffixes, in lower case and with their dot, of files that may be photographs."""
    # An MPO file opens as a JPEG.
    return {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS or name == "MPO"}


def open_photo(
    source: str | Path | BinaryIO,
    size: tuple[int, int] | None = None,
    upright: bool = True,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Image.Image:
    """An RGB photograph: its pixels in sRGB, without metadata; of several frames the first.

    source: path or binary file. size: (height, width) to resize it to, before it is turned; a larger JPEG is then
    decoded at a reduced scale that is not smaller. upright: apply the EXIF rotation. Greyscale, 16-bit,
    floating-point, palette and CMYK become RGB; transparency is laid over white. Metadata that cannot be read is
    ignored. Raises PhotoError; MemoryError passes, as it is not the photo's fault.
    """
    fault = ""
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_megapixels * 500_000)
    for version in _versions(source):
        try:
            with Image.open(version, formats=FORMATS) as photo:
                pixels = max(photo.width * photo.height, _tile_pixels(photo))
                if pixels > max_megapixels * 1e6:
                    raise _too_large(pixels, max_megapixels)
                if photo.format in ("JPEG", "MPO") and _scans(photo.fp) > MAX_SCANS:
                    raise PhotoError(f"a JPEG of more than {MAX_SCANS} scans; save it anew")
                return to_rgb(photo, upright, size)
        except (PhotoError, MemoryError):
            raise
        except Image.DecompressionBombError as error:  # of the photo, or of a picture inside
            raise _too_large(int(re.search(r"\d+", str(error))[0]), max_megapixels) from None
        except Exception as error:  # Pillow's decoders raise what they like on broken files
            fault = fault or reason(error)  # the first, where it is not only the metadata
    raise PhotoError(fault)


def _too_large(pixels: int, max_megapixels: float) -> TooLargeError:
    return TooLargeError(f"{pixels / 1e6:.0f} megapixels are over the limit of {max_megapixels:g}; shrink the photo")


def _tile_pixels(photo: Image.Image) -> int:
    """Pixels of a tile of a TIFF, which are decoded as a whole, however few the photo has; 0 without tiles."""
    tags = getattr(photo, "tag_v2", {})
    width, length = (int(np.ravel(tags.get(tag, 0))[0]) for tag in (TILE_WIDTH, TILE_LENGTH))
    return width * length


def _scans(file: BinaryIO) -> int:
    """How many scans a JPEG has, or at most has where these are few; no more than MAX_SCANS + 1 are counted."""
    file.seek(0)
    content, scans, position = file.read(), 0, 2
    if (most := content.count(b"\xff\xda")) <= MAX_SCANS:  # quick; more may lie in metadata or after the image
        return most
    while scans <= MAX_SCANS and (marker := JPEG_MARKER.search(content, position)) and marker[1] != b"\xd9":
        scans += marker[1] == b"\xda"
        position = marker.end() + int.from_bytes(content[marker.end() : marker.end() + 2], "big")
    return scans


def _versions(source: str | Path | BinaryIO) -> Iterator[str | Path | BinaryIO]:
    """A photo as it is, then without metadata. Raises PhotoError where there is nothing in it."""
    yield source
    try:
        if isinstance(source, str | Path):
            content = Path(source).read_bytes()
        else:
            source.seek(0)
            content = source.read()
    except MemoryError:
        raise
    except Exception:  # such as a file that is missing; then the first fault tells
        return
    if not content:
        raise PhotoError("the file is empty")
    yield from map(io.BytesIO, without_metadata(content))


def reason(error: Exception) -> str:
    """Why a photo cannot be used, by what Pillow raised."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image in a format that Pillow reads"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    return f"broken image ({one_line(error)})"


def orientation(photo: Image.Image) -> int:
    """EXIF orientation of an opened photo, 1 to 8; 1 where there is none that can be read."""
    try:
        value = photo.getexif().get(ExifTags.Base.Orientation, 1)
        value = int(value[0] if isinstance(value, bytes | tuple) else value)
    except Exception:  # as with decoders
        return 1
    return value if value in TURNS else 1


def to_rgb(photo: Image.Image, upright: bool = True, size: tuple[int, int] | None = None) -> Image.Image:
    """An opened image of any mode as RGB, see open_photo. Raises PhotoError, and what Pillow raises on broken files."""
    box = None
    if size and (reduced := photo.draft("RGB", size[::-1])):
        _, box = reduced  # where the photo lies: a reduced size is rounded up, and can end within the last pixels
    deep = any(";16" in str(tile.args) for tile in getattr(photo, "tile", ()))
    photo.load()
    turn = TURNS.get(orientation(photo)) if upright else None
    profile = photo.info.get("icc_profile")
    if photo.mode.startswith(("I", "F")):
        photo = _eight_bits(photo)
    elif deep and max(high for _, high in photo.convert("RGB").getextrema()) <= 4095 >> 8:
        # Pillow keeps the upper 8 of 16 bits of colours.
        raise PhotoError("nearly black: fewer than 16 bits stored as 16; save it with 8 bits per channel")
    photo = _over_white(photo, profile) if photo.has_transparency_data else _to_srgb(photo, profile)
    photo.info = {}
    if size:
        photo = photo.resize(size[::-1], Image.Resampling.BILINEAR, box)
    return photo if turn is None else photo.transpose(turn)


def _eight_bits(photo: Image.Image) -> Image.Image:
    """Greyscale of more than 8 bits, or floating-point, in 8 bits. Raises PhotoError where white is not known."""
    values = np.asarray(photo).astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if photo.mode == "F":
        # Resampling may leave a little beyond black and white.
        white = next((white for white in WHITES if high <= 1.05 * white), None)
        # Of 0..20, say, nobody knows whether it is nearly black or a range of its own.
        known = white is not None and low >= -0.05 * white and (white == 1 or high >= 0.5 * white)
    else:
        white = _stated_white(photo, high) or next((white for white in WHITES[1:] if high <= white), None)
        known = white is not None and low >= 0
    if not known:
        raise PhotoError(f"brightness from {low:g} to {high:g}, of which white is not known; save it with 8 bits")
    values *= 255 / white
    return Image.fromarray(values.round(out=values).clip(0, 255, out=values).astype(np.uint8))


def _stated_white(photo: Image.Image, high: float) -> int | None:
    """The value of white that a TIFF states, unless its largest value ``high`` is beyond."""
    tags = getattr(photo, "tag_v2", {})
    bits = int(np.ravel(tags.get(BITS_PER_SAMPLE, 16))[0])
    white = int(np.ravel(tags.get(MAX_SAMPLE_VALUE, 0))[0]) or (2**bits - 1 if bits < 16 else 0)
    return white if white >= max(high, 255) else None


def _over_white(photo: Image.Image, profile: bytes | None) -> Image.Image:
    """An 8-bit image with transparency -> RGB. profile: ICC."""
    rgba = photo.convert("RGBA")
    colours = _to_srgb(rgba.convert("L" if photo.mode in ("L", "LA") else "RGB"), profile)
    colours.putalpha(rgba.getchannel("A"))
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), colours).convert("RGB")


def _to_srgb(photo: Image.Image, profile: bytes | None) -> Image.Image:
    """An 8-bit image without transparency -> RGB. profile: ICC; one that is broken or for other colours is ignored."""
    try:
        if photo.mode == "LAB":
            source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
            return ImageCms.profileToProfile(photo, source, SRGB, outputMode="RGB")
        if profile:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            colours = source.profile.xcolor_space.strip()
            if (colours == "CMYK") == (photo.mode == "CMYK") and (colours != "GRAY" or photo.mode in ("1", "L")):
                photo = photo.convert(MODE_OF_PROFILE[colours])
                transform = ImageCms.buildTransform(source, SRGB, photo.mode, "RGB")
                if photo.mode != "RGB" or not _changes_nothing(transform):
                    return transform.apply(photo)
    except (ImageCms.PyCMSError, OSError, KeyError, ValueError):
        pass
    return photo.convert("RGB")


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether a transform from RGB to RGB does nothing but round: most profiles are sRGB's, whatever their name."""
    changed = np.asarray(transform.apply(Image.fromarray(LATTICE))).astype(int)
    return bool(abs(changed - LATTICE).max() <= 2)
