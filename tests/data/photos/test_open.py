"""Photographs of any format, mode and state: sound pixels are used, everything else is one line."""

import io
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from data.photos.open import PhotoError, open_photo
from tests.helpers import ROOT

RED = np.zeros((8, 6, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
ORIENTATION = 0x0112


# pytest forgets the filter that the module sets; a test below looks at a process of its own.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def encoded(image: Image.Image | np.ndarray, form: str = "PNG", **settings) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(file, form, **settings)
    return file.getvalue()


def opened(content: bytes, **settings) -> np.ndarray:
    """H x W x 3 uint8."""
    photo = open_photo(io.BytesIO(content), **settings)
    assert photo.mode == "RGB"
    return np.asarray(photo)


def reopened(image: Image.Image | np.ndarray, form: str = "PNG", **settings) -> np.ndarray:
    return opened(encoded(image, form, **settings))


def png_chunk(name: bytes, data: bytes, check: int | None = None) -> bytes:
    check = zlib.crc32(name + data) if check is None else check
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)


def png_with(*chunks: bytes, at_end: bool = False, photo: bytes | None = None) -> bytes:
    """A PNG of NOISE with further chunks behind its header or before its end."""
    photo = photo or encoded(NOISE)
    place = len(photo) - 12 if at_end else 8 + 25
    return photo[:place] + b"".join(chunks) + photo[place:]


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    """A JPEG of NOISE with further segments in front, each (marker, data)."""
    photo = encoded(NOISE, "JPEG")
    added = [bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data for marker, data in segments]
    return photo[:2] + b"".join(added) + photo[2:]


def tiff(pixels: np.ndarray, tags: dict[int, tuple[int, int, int]] | None = None) -> bytes:
    """An uncompressed little-endian TIFF. tags: raw (type, count, value) by number, added or replaced."""
    raw, (height, width) = pixels.tobytes(), pixels.shape[:2]
    colours = pixels.shape[2] if pixels.ndim == 3 else 1
    sample = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    entries = {
        256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8 * pixels.itemsize), 259: (3, 1, 1),
        262: (3, 1, 2 if colours == 3 else 1), 273: (4, 1, 8), 277: (3, 1, colours), 278: (4, 1, height),
        279: (4, 1, len(raw)), 339: (3, 1, sample), **(tags or {}),
    }  # fmt: skip
    listed = b"".join(struct.pack("<HHII", number, *entries[number]) for number in sorted(entries))
    return struct.pack("<4sI", b"II*\0", 8 + len(raw)) + raw + struct.pack("<H", len(entries)) + listed + bytes(4)


# Formats and modes


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM", "MPO"])
def test_common_formats_open_as_rgb_and_of_several_frames_the_first_is_used(form):
    photo = reopened(RED, form)
    assert photo.shape == RED.shape
    assert abs(photo.astype(int) - RED).max() < 12
    if form in ("GIF", "PNG", "WEBP", "TIFF", "AVIF", "MPO"):
        photo = reopened(RED, form, save_all=True, append_images=[Image.new("RGB", (6, 8), "blue")])
        assert photo[4, 3, 0] > 200 and photo[4, 3, 2] < 60


@pytest.mark.parametrize(("name", "size", "corners"), [
    ("turned", (96, 64), "red red blue blue"), ("two_images", (64, 96), "red blue red blue"),
    ("half_transparent", (64, 96), "white white red blue"), ("ten_bits", (64, 96), "red blue red blue"),
])  # fmt: skip
def test_heic_files_open_upright_and_opaque_by_any_name(name, size, corners, tmp_path):
    """Files of the usual kinds, red at the left and blue at the right: libheif only reads here."""
    (tmp_path / "a.jpg").write_bytes((Path(__file__).parent / f"heic/{name}.heic").read_bytes())
    photo = np.asarray(open_photo(tmp_path / "a.jpg")).astype(int)
    assert photo.shape == (*size, 3)
    colours = {"red": (200, 0, 0), "blue": (0, 0, 200), "white": (255, 255, 255)}
    expected = [colours[corner] for corner in corners.split()]
    assert abs(photo[[4, 4, -4, -4], [4, -4, 4, -4]] - expected).max() < 5


@pytest.mark.parametrize("mode", ["L", "LA", "1", "CMYK", "YCbCr", "LAB"])
def test_other_modes_become_rgb(mode):
    white = Image.new("RGB", (6, 8), "white")
    image = Image.new("LAB", (6, 8), (255, 128, 128)) if mode == "LAB" else white.convert(mode)
    photo = reopened(image, "TIFF" if mode == "LAB" else "JPEG" if mode in ("CMYK", "YCbCr") else "PNG")
    assert photo.shape == RED.shape and photo.min() > 245


def test_transparency_is_laid_over_white():
    rgba = np.dstack((RED, np.zeros((8, 6), np.uint8)))
    assert reopened(rgba).min() == 255
    half = np.dstack((RED, np.full((8, 6), 128, np.uint8)))
    assert reopened(half)[0, 0].tolist() == [255, 127, 127]
    palette = Image.fromarray(RED).convert("P")
    assert reopened(palette)[0, 0].tolist() == [255, 0, 0]
    assert reopened(palette, transparency=palette.getpixel((0, 0))).min() == 255


# Orientation


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation, form):
    upright = np.arange(48, dtype=np.uint8).reshape(8, 6) * 5
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    undo = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.T,
        6: lambda a: np.rot90(a, 1), 7: lambda a: np.rot90(a, 2).T, 8: lambda a: np.rot90(a, 3),
    }[orientation]  # fmt: skip
    stored = np.dstack([undo(upright)] * 3)
    settings = {"lossless": True} if form == "WEBP" else {}
    content = encoded(stored, form, exif=exif.tobytes(), **settings)
    assert np.array_equal(opened(content)[..., 0], upright)
    assert form == "TIFF" or np.array_equal(opened(content, upright=False), stored)  # Pillow turns TIFFs itself


def exif_with(*entries: bytes) -> bytes:
    return b"MM\0*\0\0\0\x08" + struct.pack(">H", len(entries)) + b"".join(entries) + bytes(4)


TURNED = struct.pack(">HHIHH", ORIENTATION, 3, 1, 6, 0)


@pytest.mark.parametrize("entries", [
    [struct.pack(">HHII", ORIENTATION, 4, 1, 6)], [struct.pack(">HHI4s", ORIENTATION, 1, 1, b"\6\0\0\0")],  # odd types
    *([TURNED, struct.pack(*entry)] for entry in (
        (">HHII", 0x010F, 2, 2**31, 2**31), (">HHII", 0x011A, 5, 1, 2**30),  # a text and a resolution beyond the file
        (">HHII", 0x8769, 4, 1, 2**31),  # further EXIF beyond the file
        (">HHII", 0x8769, 2, 3, 0x41424300),  # a text where a place should be
        (">HHII", 0x8825, 4, 1, 8), (">HHII", 0x9286, 99, 7, 3),  # GPS within itself; no such type
        (">HHII", 0x0128, 4, 1, 100_000),  # a number larger than EXIF has room for
        (">HHI4s", 0x0128, 2, 3, b"two\0"),  # a text where a number should be
        (">HHI4s", 0x0132, 2, 4, b"\xff\xfe\xfd\0"),  # no text
    )),
])  # fmt: skip
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_an_orientation_of_an_odd_type_or_beside_broken_exif_still_turns_the_photo(form, entries):
    exif = exif_with(*entries)
    photo = encoded(NOISE, form, exif=exif if form != "JPEG" else b"Exif\0\0" + exif, quality=90)
    assert opened(photo).shape == (30, 40, 3)
    assert open_photo(io.BytesIO(photo), (10, 10)).size[0] > open_photo(io.BytesIO(photo), (10, 10)).size[1]


@pytest.mark.parametrize("exif", [
    b"", b"nonsense", b"II*\0", b"MM\0*\xff\xff\xff\xff", exif_with(struct.pack(">HHIHH", ORIENTATION, 3, 1, 99, 0)),
    exif_with(struct.pack(">HHII", ORIENTATION, 5, 1, 2**31)),
    exif_with(struct.pack(">HHI4s", ORIENTATION, 2, 4, b"six\0")), exif_with(TURNED)[:12],
])  # fmt: skip
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_a_photo_with_an_orientation_that_cannot_be_read_is_taken_as_stored(form, exif):
    if form == "PNG":
        content = png_with(png_chunk(b"eXIf", exif))
    elif form == "JPEG":
        content = jpeg_with((0xE1, b"Exif\0\0" + exif))
    else:
        plain = Image.Exif()
        plain[0x010F] = "x" * 40
        content = encoded(NOISE, form, exif=plain.tobytes())
        sound = plain.tobytes().removeprefix(b"Exif\0\0")
        at = content.index(sound)
        content = content[:at] + exif.ljust(len(sound), b"\xff")[: len(sound)] + content[at + len(sound) :]
    assert opened(content).shape == NOISE.shape


@pytest.mark.parametrize("tags", [
    {34665: (4, 1, 2**31)}, {34665: (4, 1, 9)}, {34853: (2, 4, 8)}, {ORIENTATION: (5, 1, 2**31)},
    {282: (2, 4, 0x41414141), 296: (3, 1, 3)}, {700: (1, 1000, 2**30), 34675: (7, 1000, 2**30)},
    {270: (2, 2**31, 2**31)},
])  # fmt: skip
def test_tiffs_with_broken_metadata_are_used(tags):
    assert np.array_equal(opened(tiff(NOISE, tags)), NOISE)
    turned = opened(tiff(NOISE, {ORIENTATION: (3, 1, 6), **tags}))
    assert turned.shape == (NOISE.shape if ORIENTATION in tags else (30, 40, 3))


# Other metadata

HUGE = zlib.compress(b"x" * 5_000_000, 9)
PNG_FAULTS = {
    "a compressed text of 5 MB": png_chunk(b"zTXt", b"Comment\0\0" + HUGE),
    "an international text of 5 MB": png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + HUGE),
    "a text of an unknown compression": png_chunk(b"zTXt", b"Comment\0\7" + HUGE),
    "a text that is not compressed": png_chunk(b"zTXt", b"Comment\0\0" + b"nonsense"),
    "an empty text": png_chunk(b"iTXt", b""), "a profile of 5 MB": png_chunk(b"iCCP", b"profile\0\0" + HUGE),
    "a profile that is not compressed": png_chunk(b"iCCP", b"profile\0\0" + b"nonsense"),
    "a resolution cut off": png_chunk(b"pHYs", b"\0"), "primaries cut off": png_chunk(b"cHRM", b"\0" * 7),
    "an animation of no frames": png_chunk(b"acTL", bytes(8)), "an animation cut off": png_chunk(b"acTL", b"\0"),
    "EXIF in a text that is not hexadecimal": png_chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 4\nzzzz"),
    "an unknown chunk with a wrong check sum": png_chunk(b"abCd", b"x", check=5),
}  # fmt: skip


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("fault", PNG_FAULTS)
def test_pngs_with_broken_metadata_are_used(fault, at_end):
    assert np.array_equal(opened(png_with(PNG_FAULTS[fault], at_end=at_end)), NOISE)


def test_what_can_be_read_beside_broken_metadata_still_counts():
    photo = encoded(CHART, exif=exif_with(TURNED), icc_profile=rgb_profile(P3))
    expected = opened(photo)
    assert expected.shape == (96, 16, 3) and abs(expected[0, 0] - COLOURS[0].astype(int)).max() > 20
    faulty = png_with(PNG_FAULTS["a compressed text of 5 MB"], photo=photo)
    assert np.array_equal(opened(faulty), expected)


JPEG_FAULTS = {
    "a profile cut off": (0xE2, b"ICC_PROFILE\0"), "a profile of missing parts": (0xE2, b"ICC_PROFILE\0\3\7abc"),
    "a profile of no sense": (0xE2, b"ICC_PROFILE\0\1\1" + b"x" * 200),
    "resources of Photoshop cut off": (0xED, b"Photoshop 3.0\x008BIM\x04"),
    "a resource of Photoshop without a name": (0xED, b"Photoshop 3.0\x008BIM\x04\x04"),
    "Adobe's segment cut off": (0xEE, b"Adobe\0"), "JFIF cut off": (0xE0, b"JFIF\0"),
    "several pictures cut off": (0xE2, b"MPF\0MM\0*\0\0\0\x08\0\1\xb0"),
    "several pictures of no sense": (0xE2, b"MPF\0" + b"\xff" * 40),
    "XMP of no sense": (0xE1, b"http://ns.adobe.com/xap/1.0/\0\xff\xfe<x"),
    "XMP with an absurd orientation": (0xE1, b'http://ns.adobe.com/xap/1.0/\0 tiff:Orientation="9" '),
    "a comment of no letters": (0xFE, b"\xff\xfe\0\x80"),
}  # fmt: skip


@pytest.mark.parametrize("fault", JPEG_FAULTS)
def test_jpegs_with_broken_metadata_are_used(fault):
    assert np.array_equal(opened(jpeg_with(JPEG_FAULTS[fault])), opened(encoded(NOISE, "JPEG")))


def test_a_photo_that_is_cut_off_or_damaged_is_an_error_whatever_its_metadata():
    for content in (encoded(NOISE), encoded(NOISE, "JPEG"), png_with(PNG_FAULTS["an empty text"]), tiff(NOISE)):
        for share in (0.5, 0.9):
            with pytest.raises(PhotoError):
                opened(content[: int(share * len(content))])
    photo = bytearray(encoded(NOISE))
    photo[photo.index(b"IDAT") + 200] ^= 255
    with pytest.raises(PhotoError, match="broken image"):
        opened(bytes(photo))
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_an_opened_photo_carries_no_metadata():
    exif, profile = exif_with(TURNED), rgb_profile(P3)
    for form in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
        photo = open_photo(io.BytesIO(encoded(NOISE, form, exif=exif, icc_profile=profile)))
        assert photo.info == {} and not photo.getexif()


SILENT = """
import sys
from concurrent.futures import ThreadPoolExecutor
from data.photos.open import PhotoError, open_photo
def look(path):
    try:
        return open_photo(path).size
    except PhotoError:
        return path.endswith("logged.img")
with ThreadPoolExecutor(4) as pool:
    print(*sorted(map(str, set(pool.map(look, sys.argv[1:] * 8)))))
"""


def test_nothing_is_written_about_metadata(tmp_path):
    contents = [
        jpeg_with((0xE1, b"Exif\0\0" + exif_with(struct.pack(">HHII", 0x010F, 2, 2**20, 2**20)))),
        jpeg_with((0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\x09" + TURNED[:5])),
        jpeg_with(JPEG_FAULTS["several pictures of no sense"]),
        png_with(PNG_FAULTS["an animation of no frames"]),
        tiff(NOISE, {270: (2, 2**31, 2**31), 700: (1, 1000, 2**30)}),
        encoded(Image.fromarray(NOISE).convert("P"), transparency=bytes([0, 128])),
    ]
    (tmp_path / "logged.img").write_bytes(tiff(NOISE, {277: (3, 1, 144)}))
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.img").write_bytes(content)
    command = [sys.executable, "-W", "default", "-c", SILENT, *map(str, sorted(tmp_path.iterdir()))]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("(30, 40) True\n", "")


# Brightness beyond 8 bits

RAMP = np.linspace(0, 1, 256 * 6).reshape(256, 6)


def test_grey_of_8_to_16_bits_in_16_and_floating_point_keep_their_brightness():
    for content in (
        *(write((RAMP * scale).round().astype(np.uint16))
          for write in (encoded, tiff) for scale in (255, 1023, 4095, 65535)),
        encoded(Image.fromarray((RAMP * 65535).astype("<u2")), "TIFF"),
        encoded(Image.frombytes("I;16B", (6, 256), (RAMP * 65535).astype(">u2").tobytes()), "TIFF"),
        b"P5 6 256 4095\n" + (RAMP * 4095).round().astype(">u2").tobytes(),
        *(tiff((RAMP * scale).astype(np.float32)) for scale in (1, 255, 1023, 4095, 65535)),
    ):  # fmt: skip
        assert abs(opened(content)[..., 0] - RAMP * 255).max() <= 1
    assert abs(opened(tiff((RAMP * 1.03).astype(np.float32)))[..., 0] - (RAMP * 1.03 * 255).clip(0, 255)).max() <= 1


def test_a_tiff_of_12_bits_or_with_a_stated_white_keeps_its_brightness_however_dark_it_is():
    values = np.linspace(0, 200, 12 * 8).astype(np.uint16)
    packed = b"".join(((int(a) << 12) | int(b)).to_bytes(3, "big") for a, b in values.reshape(-1, 2))
    content = tiff(np.frombuffer(packed, np.uint8).reshape(8, 18), {256: (4, 1, 12), 258: (3, 1, 12)})
    assert abs(opened(content)[..., 0].ravel() - values * 255 / 4095).max() <= 1
    content = tiff((RAMP * 700).astype(np.uint16), {281: (3, 1, 1023)})
    assert abs(opened(content)[..., 0] - RAMP * 700 * 255 / 1023).max() <= 1


@pytest.mark.parametrize(("values", "kind"), [
    *((RAMP * scale, np.float32) for scale in (3, 20, 100, 300, 5000, 1e6)),  # 3: with lights, or black?
    (RAMP * 2 - 1, np.float32), (np.where(RAMP > 0.5, np.nan, RAMP), np.float32),
    (np.where(RAMP > 0.5, np.inf, RAMP), np.float32), (RAMP * 1e6, np.int32), (RAMP * 300 - 100, np.int32),
])  # fmt: skip
def test_brightness_of_an_unknown_white_is_refused(values, kind):
    with pytest.raises(PhotoError, match="brightness from .* white is not known; save it with 8 bits"):
        opened(tiff(values.astype(kind)))


def test_16_bit_colours_keep_their_brightness_and_fewer_bits_stored_as_16_are_refused():
    def png(pixels: np.ndarray) -> bytes:  # of 48 bits, which Pillow does not write
        return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()

    colours = np.dstack([RAMP, RAMP[::-1], RAMP])
    assert abs(opened(png((colours * 65535).astype(np.uint16))) - colours * 255).max() <= 1
    for scale in (255, 1023, 4095):
        with pytest.raises(PhotoError, match="nearly black: fewer than 16 bits stored as 16"):
            opened(png((colours * scale).astype(np.uint16)))


# Colour profiles

P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE = ((0.640, 0.330), (0.210, 0.710), (0.150, 0.060))
SRGB = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
ROUNDED = ((0.6401, 0.3300), (0.3000, 0.6001), (0.1500, 0.0600))  # sRGB's, a little off
D65, D50 = np.array([0.95047, 1, 1.08883]), np.array([0.9642, 1, 0.8249])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def to_xyz(primaries) -> np.ndarray:
    """RGB of these primaries and white D65 -> XYZ relative to D50, as profiles have it: 3 x 3."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    adapt = np.linalg.inv(BRADFORD) @ np.diag(BRADFORD @ D50 / (BRADFORD @ D65)) @ BRADFORD
    return adapt @ columns * np.linalg.solve(columns, D65)


def text_tag(text: str) -> bytes:
    return b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text.encode() + bytes(79)


def profile_of(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile, version 2, of a display."""
    tags = {b"desc": text_tag("x"), b"cprt": b"text" + bytes(4) + b"x\0"} | tags
    tags[b"wtpt"] = b"XYZ " + bytes(4) + struct.pack(">3i", *(D50 * 65536).round().astype(int))
    table, data, place = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content = content.ljust(-(-len(content) // 4) * 4, b"\0")
        table += name + struct.pack(">II", place + len(data), len(content))
        data += content
    header = struct.pack(
        ">I4sI4s4s4s12x4s4s4s4s4s8xI3i48x", place + len(data), bytes(4), 0x02400000, b"mntr", space, b"XYZ ",
        b"acsp", bytes(4), bytes(4), bytes(4), bytes(4), 0, *(D50 * 65536).round().astype(int),
    )  # fmt: skip
    assert len(header) == 128
    return header + struct.pack(">I", len(tags)) + table + data


def gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256))


def rgb_profile(primaries, curve: bytes = gamma(2.2), name: str = "x") -> bytes:
    columns = (to_xyz(primaries) * 65536).round().astype(int).T
    tags = {
        f"{c}XYZ".encode(): b"XYZ " + bytes(4) + struct.pack(">3i", *v) for c, v in zip("rgb", columns, strict=True)
    }
    return profile_of(b"RGB ", {b"desc": text_tag(name), **tags, **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)})


def srgb_curve() -> bytes:
    """The curve as profiles on photographs have it, in 1024 steps."""
    x = np.linspace(0, 1, 1024)
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    return b"curv" + bytes(4) + struct.pack(">I", 1024) + (linear * 65535).round().astype(">u2").tobytes()


def as_srgb(colours: np.ndarray, primaries, exponent: float = 2.2) -> np.ndarray:
    """What a colour of these primaries is in sRGB, by the standard's formulas: N x 3 in 0..255."""
    linear = (colours / 255) ** exponent @ (np.linalg.inv(to_xyz(SRGB)) @ to_xyz(primaries)).T
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


COLOURS = np.uint8([[200, 60, 60], [60, 180, 60], [90, 90, 190], [128, 128, 128], [255, 255, 255], [190, 160, 140]])
CHART = np.repeat(np.repeat(COLOURS[None], 16, 1), 16, 0)  # 16 x 96 x 3, patches of 16 x 16


def patches(photo: np.ndarray) -> np.ndarray:
    """Mean colour of each patch of the chart."""
    return np.array([photo[4:12, 16 * i + 4 : 16 * i + 12].mean((0, 1)) for i in range(len(COLOURS))])


@pytest.mark.parametrize("primaries", [P3, ADOBE], ids=["Display P3", "Adobe RGB"])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF"])
def test_colours_are_converted_to_srgb(form, primaries):
    photo = reopened(CHART, form, icc_profile=rgb_profile(primaries), quality=95)
    expected = as_srgb(COLOURS, primaries)
    assert abs(expected - COLOURS).max() > 20
    assert abs(patches(photo) - expected).max() < (3 if form in ("PNG", "TIFF") else 8)


def test_a_photo_in_srgb_stays_as_it_is_and_a_profile_that_is_only_called_srgb_is_applied():
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (plain, rgb_profile(ROUNDED, srgb_curve())):
        assert np.array_equal(reopened(NOISE, icc_profile=profile), NOISE)
    linear = rgb_profile(SRGB, gamma(1.0), "linear sRGB")
    assert abs(patches(reopened(CHART, icc_profile=linear)) - as_srgb(COLOURS, SRGB, 1.0)).max() < 3


def test_palettes_transparency_and_grey_are_converted_too():
    profile, expected = rgb_profile(P3), as_srgb(COLOURS[:1], P3)[0]
    plain = Image.new("RGB", (6, 8), tuple(COLOURS[0].tolist()))
    for image in (plain.convert("P", palette=Image.Palette.ADAPTIVE), plain.convert("RGBA")):
        assert abs(reopened(image, icc_profile=profile)[0, 0] - expected).max() < 3
    half = plain.convert("RGBA")
    half.putalpha(128)
    assert abs(reopened(half, icc_profile=profile)[0, 0] - (expected + 255) / 2).max() < 3

    dark = profile_of(b"GRAY", {b"kTRC": gamma(1.0)})  # linear light
    expected = as_srgb(np.array([[100] * 3]), SRGB, 1.0)[0, 0]
    for image in (Image.new("L", (6, 8), 100), Image.new("LA", (6, 8), (100, 255)), np.full((8, 6), 25700, np.uint16)):
        assert abs(reopened(image, icc_profile=dark)[0, 0] - expected).max() < 3
    grey_in_rgb = reopened(Image.new("L", (6, 8), 100), icc_profile=rgb_profile(P3, gamma(1.0)))
    assert abs(grey_in_rgb[0, 0] - expected).max() < 3


def cmyk_profile() -> bytes:
    """A printer whose inks are made up: whatever the other inks, cyan alone decides, and more of it is lighter."""
    grid = np.zeros((2, 2, 2, 2, 3), ">u2")
    grid[0] = (5 * 652, 32896, 32896)  # L* a* b* in 16 bits
    grid[1] = (95 * 652, 32896, 32896)
    head = b"mft2" + bytes(4) + struct.pack(">BBBx9i", 4, 3, 2, *(65536 * np.eye(3, dtype=int)).ravel())
    line = np.array([0, 65535], ">u2").tobytes()
    table = head + struct.pack(">HH", 2, 2) + 4 * line + grid.tobytes() + 3 * line
    profile = profile_of(b"CMYK", {b"A2B0": table})
    return profile[:12] + b"prtr" + profile[16:20] + b"Lab " + profile[24:]


def test_cmyk_is_converted_by_its_profile():
    profile = cmyk_profile()
    for cyan, low, high in ((0, 0, 40), (255, 220, 255)):
        inks = Image.new("CMYK", (16, 16), (cyan, 255 - cyan, 40, 0))
        for form in ("JPEG", "TIFF"):
            photo = reopened(inks, form, icc_profile=profile)
            assert low <= photo.min() and photo.max() <= high
            assert np.ptp(photo.astype(int), axis=2).max() < 12  # grey


@pytest.mark.parametrize("profile", [
    b"nonsense", rgb_profile(P3)[:200], rgb_profile(P3)[:128] + bytes(300), b"\0" * 128, profile_of(b"RGB ", {}),
    cmyk_profile(), profile_of(b"GRAY", {b"kTRC": gamma(1.0)}),
], ids=str.split("nonsense cut_off no_tags zeros no_curves CMYK grey"))  # fmt: skip
def test_profiles_that_are_broken_or_for_other_colours_are_ignored(profile):
    assert np.array_equal(reopened(NOISE, icc_profile=profile), NOISE)


def test_profiles_are_used_in_many_threads_at_once():
    content, expected = encoded(NOISE, icc_profile=rgb_profile(P3)), reopened(NOISE, icc_profile=rgb_profile(P3))
    with ThreadPoolExecutor(8) as pool:
        assert all(np.array_equal(photo, expected) for photo in pool.map(opened, [content] * 64))


# Limits and faults


def test_large_jpegs_are_decoded_at_a_reduced_scale_that_suffices_and_in_srgb():
    content = encoded(Image.new("RGB", (800, 800), tuple(COLOURS[0])), "JPEG", icc_profile=rgb_profile(P3), quality=95)
    for min_size, side in (((64, 64), 100), ((101, 64), 200), (None, 800)):
        photo = open_photo(io.BytesIO(content), min_size=min_size)
        assert photo.size == (side, side)
        assert abs(np.asarray(photo)[9, 9] - as_srgb(COLOURS[:1], P3)[0]).max() < 8


@pytest.mark.parametrize(("content", "reason"), [
    (b"no image", "not an image"), (b"", "not an image"), (encoded(NOISE, "JPEG")[:700], "broken image"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "not an image"),
    (None, "no such file"),
])  # fmt: skip
def test_bad_files_are_named_in_one_line(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(PhotoError, match=rf"\A{reason}.*\Z"):
        open_photo(tmp_path / "a.jpg")
    with pytest.raises(PhotoError, match="cannot be read: Is a directory"):
        open_photo(tmp_path)


def test_photographs_over_the_pixel_limit_are_refused_before_decoding():
    content = encoded(Image.new("L", (2000, 1000)))
    for bomb in (content, png_with(PNG_FAULTS["an empty text"], photo=content)):
        with pytest.raises(PhotoError, match="2 megapixels are over the limit of 1"):
            open_photo(io.BytesIO(bomb), max_megapixels=1)
