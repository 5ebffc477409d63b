"""Open photographs: any format, any colour mode, upright, in sRGB, bounded."""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageCms

try:  # iPhone photographs
    from pi_heif import register_heif_opener
except ImportError:
    pass
else:
    register_heif_opener()

MAX_MEGAPIXELS = 200
Image.MAX_IMAGE_PIXELS = None  # the limit is checked below, with a message that says what to do
warnings.filterwarnings("ignore", module=r"PIL\.")  # they are of metadata; what is wrong with pixels is an error

UNTURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
MODE_OF_SPACE = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
PNG_START = b"\x89PNG\r\n\x1a\n"
PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # of a PNG


class PhotoError(ValueError):
    """A photograph that cannot be used; the message says why in one line."""


def open_photo(
    source: str | Path | BinaryIO,
    min_size: tuple[int, int] | None = None,
    upright: bool = True,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Image.Image:
    """An RGB photograph in sRGB, without metadata.

    source: path or binary file. min_size: (height, width) that suffices; a larger JPEG is then decoded
    at a reduced scale that is not smaller. upright: apply the EXIF rotation. Greyscale, 16-bit, float, palette
    and CMYK become RGB; transparency is laid over white; a colour profile is applied. Metadata that is broken or
    too large is ignored. Raises PhotoError.
    """
    try:
        try:
            return _decode(source, min_size, upright, max_megapixels)
        except (FileNotFoundError, PhotoError):
            raise
        except Exception as error:  # Pillow's decoders raise what they like on broken files
            for content in _with_less_metadata(source):
                try:
                    return _decode(io.BytesIO(content), min_size, upright, max_megapixels)
                except PhotoError:
                    raise
                except Exception:
                    continue
            raise error
    except PhotoError:
        raise
    except FileNotFoundError:
        raise PhotoError("no such file") from None
    except Image.UnidentifiedImageError:
        raise PhotoError("not an image in a format that Pillow reads") from None
    except Exception as error:
        raise PhotoError(f"broken image ({' '.join(str(error).split()) or type(error).__name__})") from None


def orientation(photo: Image.Image) -> int:
    """EXIF orientation of an opened photo, 1 to 8; 1 where there is none, or none that makes sense."""
    try:
        value = photo.getexif().get(ExifTags.Base.Orientation, 1)
        value = int(value[0] if isinstance(value, bytes | tuple) else value)
    except Exception:  # so many ways for EXIF to be broken
        return 1
    return value if value in UNTURN else 1


def to_rgb(photo: Image.Image) -> Image.Image:
    """Convert any Pillow mode to RGB in sRGB; 16-bit and float grey is scaled, transparency laid over white.

    Raises PhotoError where the brightness that float or integer values stand for is anybody's guess.
    """
    if photo.mode == "F" or photo.mode.startswith("I"):
        photo = Image.fromarray(_grey_8_bit(np.asarray(photo)))
    profile = photo.info.get("icc_profile")
    if photo.has_transparency_data:
        rgba = photo.convert("RGBA")
        rgb = _to_srgb(rgba.convert("RGB"), profile)
        rgb.putalpha(rgba.getchannel("A"))
        photo = Image.alpha_composite(Image.new("RGBA", rgb.size, "white"), rgb)
    elif profile:
        photo = _to_srgb(photo.convert("RGB") if photo.mode == "P" else photo, profile)
    photo = photo.convert("RGB")
    photo.info = {}  # the profile has been applied, and the rest does not describe this picture any more
    return photo


def _decode(
    source: str | Path | BinaryIO, min_size: tuple[int, int] | None, upright: bool, max_megapixels: float
) -> Image.Image:
    if hasattr(source, "seek"):
        source.seek(0)
    with Image.open(source) as photo:
        width, height = photo.size
        if width * height > max_megapixels * 1e6:
            raise PhotoError(
                f"{width * height / 1e6:.0f} megapixels are over the limit of {max_megapixels:g}; shrink the photo"
            )
        if min_size is not None:
            photo.draft("RGB", (min_size[1], min_size[0]))
        photo.load()
        turn = UNTURN.get(orientation(photo)) if upright else None  # after load, which turns TIFFs itself
        rgb = to_rgb(photo)
    return rgb if turn is None else rgb.transpose(turn)


def _to_srgb(photo: Image.Image, profile: bytes | None) -> Image.Image:
    """The photo in sRGB, or as it is where the profile is broken, not of its mode, or sRGB's own."""
    if not profile:
        return photo
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if MODE_OF_SPACE.get(source.profile.xcolor_space.strip()) != photo.mode:
            return photo
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return photo
        return ImageCms.profileToProfile(photo, source, SRGB, outputMode="RGB")
    except Exception:  # LittleCMS names dozens of faults, all of the profile alone
        return photo


def _grey_8_bit(values: np.ndarray) -> np.ndarray:
    """Grey of more than 8 bits, or float -> H x W uint8, by the range of its values. Raises PhotoError."""
    values = values.astype(np.float64 if values.dtype.kind == "f" else np.int64)
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)) or low < 0:
        raise PhotoError(f"values from {low:g} to {high:g} are not brightness; save it as 8 bits a channel")
    if values.dtype.kind == "f":
        # Between these ranges nobody knows what is white.
        white = next((w for least, w in ((0, 1), (128, 255), (32768, 65535)) if least <= high <= w), None)
    else:  # 8, 10, 12 or 16 bits, whatever they are stored in
        white = next((w for w in (255, 1023, 4095, 65535) if high <= w), None)
    if white is None:
        raise PhotoError(f"values up to {high:g}: nobody knows which is white; save it as 8 bits a channel")
    if values.dtype.kind == "f":
        return (values * (255 / white)).round().astype(np.uint8)
    return (values >> (white.bit_length() - 8)).astype(np.uint8)


def _with_less_metadata(source: str | Path | BinaryIO) -> Iterator[bytes]:
    """A PNG or JPEG without most of its metadata, then without any; nothing for other files."""
    if hasattr(source, "seek"):
        source.seek(0)
        content = source.read()
    else:
        content = Path(source).read_bytes()
    if content.startswith(PNG_START):
        yield _png_chunks(content, (*PIXEL_CHUNKS, b"eXIf", b"iCCP"))
        yield _png_chunks(content, (*PIXEL_CHUNKS, b"eXIf"))
        yield _png_chunks(content, PIXEL_CHUNKS)
    elif content.startswith(b"\xff\xd8"):
        yield _jpeg_segments(content)


def _png_chunks(content: bytes, kept: tuple[bytes, ...]) -> bytes:
    """A PNG with chunks of some kinds alone."""
    parts, at = [PNG_START], len(PNG_START)
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        chunk = content[at : at + 12 + length]
        kind = chunk[4:8]
        sound = kind in PIXEL_CHUNKS or zlib.crc32(chunk[4:-4]).to_bytes(4, "big") == chunk[-4:]
        if kind in kept and sound:
            parts.append(chunk)
        at += 12 + length
    return b"".join(parts) + content[at:]


def _jpeg_segments(content: bytes) -> bytes:
    """A JPEG without comments and application segments, but for the one that tells its colour transform."""
    parts, at = [content[:2]], 2
    while content[at : at + 1] == b"\xff" and content[at + 1 : at + 2] not in (b"\xda", b"\xd9", b""):
        if content[at + 1] == 0xFF:  # a fill byte
            at += 1
            continue
        (length,) = struct.unpack(">H", content[at + 2 : at + 4].rjust(2, b"\0"))
        marker, segment = content[at + 1], content[at : at + 2 + max(2, length)]
        adobe = marker == 0xEE and segment[4:9] == b"Adobe" and len(segment) >= 16
        if adobe or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            parts.append(segment)
        at += len(segment)
    return b"".join(parts) + content[at:]
