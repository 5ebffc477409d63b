"""Photographs of any format, mode and state: sound pixels are used, everything else is one line."""

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from data.photos.open import PhotoError, open_photo
from tests.helpers import encoded, exif_of, png_chunk, run_script

RED = np.zeros((8, 6, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
ORIENTATION = 0x0112


# pytest forgets the filter that the module sets; a test below looks at a process of its own.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def opened(content: bytes, **settings) -> np.ndarray:
    """H x W x 3 uint8."""
    photo = open_photo(io.BytesIO(content), **settings)
    assert photo.mode == "RGB"
    return np.asarray(photo)


def reopened(image: Image.Image | np.ndarray, form: str = "PNG", **settings) -> np.ndarray:
    return opened(encoded(image, form, **settings))


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


# Orientation and other metadata


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation, form):
    upright = np.arange(48, dtype=np.uint8).reshape(8, 6) * 5
    undo = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.T,
        6: lambda a: np.rot90(a, 1), 7: lambda a: np.rot90(a, 2).T, 8: lambda a: np.rot90(a, 3),
    }[orientation]  # fmt: skip
    stored = np.dstack([undo(upright)] * 3)
    content = encoded(stored, form, exif=exif_of(orientation))
    assert np.array_equal(opened(content)[..., 0], upright)
    assert form == "TIFF" or np.array_equal(opened(content, upright=False), stored)  # Pillow turns TIFFs itself


def exif_with(*entries: bytes) -> bytes:
    return b"MM\0*\0\0\0\x08" + struct.pack(">H", len(entries)) + b"".join(entries) + bytes(4)


def with_exif(form: str, exif: bytes) -> bytes:
    """A photo of NOISE with EXIF as it is."""
    if form == "PNG":
        return png_with(png_chunk(b"eXIf", exif))
    if form == "JPEG":
        return jpeg_with((0xE1, b"Exif\0\0" + exif))
    sound = exif_with(struct.pack(">HHII", 0x010F, 2, 40, 26)) + b"x" * 39 + b"\0"  # EXIF of the camera's maker
    content = encoded(NOISE, form, exif=sound)
    assert content.count(sound) == 1
    return content.replace(sound, exif.ljust(len(sound), b"\xff"))


TURNED = struct.pack(">HHIHH", ORIENTATION, 3, 1, 6, 0)


@pytest.mark.parametrize("entries", [
    [struct.pack(">HHII", ORIENTATION, 4, 1, 6)], [struct.pack(">HHI4s", ORIENTATION, 1, 1, b"\6\0\0\0")],  # odd types
    *([TURNED, struct.pack(*entry)] for entry in (
        (">HHII", 0x010F, 2, 2**31, 2**31),  # a text beyond the file
        (">HHII", 0x8825, 4, 1, 8),  # GPS within itself
        (">HHI4s", 0x0128, 2, 3, b"two\0"),  # a text where a number should be
    )),
])  # fmt: skip
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_an_orientation_of_an_odd_type_or_beside_broken_exif_still_turns_the_photo(form, entries):
    content = with_exif(form, exif_with(*entries))
    assert opened(content).shape == (30, 40, 3)
    assert opened(content, size=(20, 10)).shape == (10, 20, 3)


@pytest.mark.parametrize("exif", [
    b"", b"nonsense", b"MM\0*\xff\xff\xff\xff", exif_with(struct.pack(">HHIHH", ORIENTATION, 3, 1, 99, 0)),
    exif_with(struct.pack(">HHII", ORIENTATION, 5, 1, 2**31)),
    exif_with(struct.pack(">HHI4s", ORIENTATION, 2, 4, b"six\0")), exif_with(TURNED)[:12],
])  # fmt: skip
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_a_photo_with_an_orientation_that_cannot_be_read_is_taken_as_stored(form, exif):
    assert opened(with_exif(form, exif)).shape == NOISE.shape


def png_with(*chunks: bytes, at_end: bool = False, photo: bytes | None = None) -> bytes:
    """A PNG of NOISE with further chunks behind its header or before its end."""
    photo = photo or encoded(NOISE)
    place = len(photo) - 12 if at_end else 8 + 25
    return photo[:place] + b"".join(chunks) + photo[place:]


def jpeg_with(*segments: tuple[int, bytes], photo: bytes | None = None) -> bytes:
    """A JPEG of NOISE with further segments in front, each (marker, data)."""
    photo = photo or encoded(NOISE, "JPEG")
    added = [bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data for marker, data in segments]
    return photo[:2] + b"".join(added) + photo[2:]


def tiff_with(pixels: np.ndarray, *tags: tuple[int, int, int, int], **settings) -> bytes:
    """A TIFF with tags as they are, each (number, type, count, value), in place of those with the same numbers."""
    photo = encoded(pixels, "TIFF", **settings)
    (begin,) = struct.unpack_from("<I", photo, 4)
    end = begin + 2 + 12 * struct.unpack_from("<H", photo, begin)[0]
    entries = {entry[0]: entry for entry in [*struct.iter_unpack("<HHII", photo[begin + 2 : end]), *tags]}
    listed = b"".join(struct.pack("<HHII", *entries[number]) for number in sorted(entries))
    return photo[:4] + struct.pack("<I", len(photo)) + photo[8:] + struct.pack("<H", len(entries)) + listed + bytes(4)


HUGE = zlib.compress(b"x" * 5_000_000, 9)
HUGE_TEXT = png_chunk(b"zTXt", b"Comment\0\0" + HUGE)
PNG_FAULTS = {
    "a compressed text of 5 MB": png_with(HUGE_TEXT), "the same at the end": png_with(HUGE_TEXT, at_end=True),
    "a profile of 5 MB": png_with(png_chunk(b"iCCP", b"profile\0\0" + HUGE)),
    "a text of an unknown compression": png_with(png_chunk(b"zTXt", b"Comment\0\7" + HUGE)),
    "a resolution cut off": png_with(png_chunk(b"pHYs", b"\0")),
    "an animation of no frames": png_with(png_chunk(b"acTL", bytes(8))),
    "an animation cut off": png_with(png_chunk(b"acTL", b"\0")),
    "an unknown chunk with a wrong check sum": png_with(png_chunk(b"abCd", b"x", check=5)),
}  # fmt: skip


@pytest.mark.parametrize("fault", PNG_FAULTS)
def test_pngs_with_broken_metadata_are_used(fault):
    assert np.array_equal(opened(PNG_FAULTS[fault]), NOISE)


@pytest.mark.parametrize("fault", [
    (0xE2, b"ICC_PROFILE\0"), (0xE2, b"ICC_PROFILE\0\3\7abc"),  # a profile cut off, and of missing parts
    (0xED, b"Photoshop 3.0\x008BIM\x04\x04"), (0xEE, b"Adobe\0"), (0xE0, b"JFIF\0"),  # cut off
    (0xE2, b"MPF\0MM\0*\0\0\0\x08\0\1\xb0"), (0xFE, b"\xff\xfe\0\x80"),  # a comment of no letters
])  # fmt: skip
def test_jpegs_with_broken_metadata_are_used(fault):
    content = jpeg_with(fault)
    for fill in (b"", b"\xff"):  # a byte that may stand before any marker
        assert np.array_equal(opened(content[:2] + fill + content[2:]), opened(encoded(NOISE, "JPEG")))
    assert opened(jpeg_with((0xE1, b"Exif\0\0" + exif_with(TURNED)), fault)).shape == (30, 40, 3)


@pytest.mark.parametrize("tags", [
    [(ORIENTATION, 5, 1, 2**31)], [(282, 2, 4, 0x41414141), (296, 3, 1, 3)],  # a text as resolution
    [(270, 2, 2**31, 2**31)], [(34665, 4, 1, 2**31), (34853, 2, 4, 8)], [(34675, 7, 1000, 2**30)],  # beyond the file
])  # fmt: skip
def test_tiffs_with_broken_metadata_are_used(tags):
    assert np.array_equal(opened(tiff_with(NOISE, *tags)), NOISE)
    turned = opened(tiff_with(NOISE, (ORIENTATION, 3, 1, 6), *tags))
    assert turned.shape == (NOISE.shape if tags[0][0] == ORIENTATION else (30, 40, 3))


def test_what_can_be_read_beside_broken_metadata_still_counts():
    photo = encoded(CHART, exif=exif_with(TURNED), icc_profile=P3)
    expected = opened(photo)
    assert expected.shape == (80, 16, 3) and abs(expected[0, 0] - COLOURS[0].astype(int)).max() > 20
    assert np.array_equal(opened(png_with(HUGE_TEXT, photo=photo)), expected)
    jpeg, tiff = (encoded(CHART, form, icc_profile=P3) for form in ("JPEG", "TIFF"))
    assert np.array_equal(opened(jpeg_with((0xED, b"Photoshop 3.0\x008BIM\x04\x04"), photo=jpeg)), opened(jpeg))
    odd_resolution = (282, 2, 4, 0x41414141), (296, 3, 1, 3)
    assert np.array_equal(opened(tiff_with(CHART, *odd_resolution, icc_profile=P3)), opened(tiff))
    clear = encoded(Image.new("P", (6, 8)), transparency=0)
    assert opened(png_with(HUGE_TEXT, photo=clear)).min() == 255


def test_an_avif_whose_xmp_lies_beyond_the_file_is_used():
    xmp = b"<x:xmpmeta/>"
    content = encoded(NOISE, "AVIF", xmp=xmp)
    beyond = content.replace(struct.pack(">I", content.index(xmp)), b"\x7f\xff\xff\xff")
    assert np.array_equal(opened(beyond), opened(content))


def test_a_photo_that_is_cut_off_or_damaged_is_an_error_whatever_its_metadata():
    for content in (encoded(NOISE), encoded(NOISE, "JPEG"), png_with(HUGE_TEXT), encoded(NOISE, "TIFF")):
        for share in (0.5, 0.9):
            with pytest.raises(PhotoError):
                opened(content[: int(share * len(content))])
    photo = bytearray(encoded(NOISE))
    photo[photo.index(b"IDAT") + 200] ^= 255
    with pytest.raises(PhotoError, match="broken image"):
        opened(bytes(photo))
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_an_opened_photo_carries_no_metadata():
    for form in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
        photo = open_photo(io.BytesIO(encoded(NOISE, form, exif=b"Exif\0\0" + exif_with(TURNED), icc_profile=P3)))
        assert (photo.size, photo.info) == ((40, 30), {}) and not photo.getexif()


def test_nothing_is_written_about_metadata(tmp_path):
    contents = [
        jpeg_with((0xE1, b"Exif\0\0" + exif_with(struct.pack(">HHII", 0x010F, 2, 2**20, 2**20)))),
        jpeg_with((0xE2, b"MPF\0" + b"\xff" * 40)), PNG_FAULTS["an animation of no frames"],
        encoded(Image.fromarray(NOISE).convert("P"), transparency=bytes([0, 128])),
    ]  # fmt: skip
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.img").write_bytes(content)
    program = "import sys; from data.photos.open import open_photo; print({open_photo(p).size for p in sys.argv[1:]})"
    result = run_script("-W", "default", "-c", program, *tmp_path.iterdir())
    assert (result.stdout, result.stderr) == ("{(30, 40)}\n", "")


# Brightness beyond 8 bits

RAMP = np.linspace(0, 1, 256 * 6).reshape(256, 6)


def test_grey_of_8_to_16_bits_in_16_and_floating_point_keep_their_brightness():
    for content in (
        *(encoded((RAMP * scale).round().astype(np.uint16), form)
          for form in ("PNG", "TIFF") for scale in (255, 1023, 4095, 65535)),
        encoded(Image.frombytes("I;16B", (6, 256), (RAMP * 65535).astype(">u2").tobytes()), "TIFF"),
        b"P5 6 256 4095\n" + (RAMP * 4095).round().astype(">u2").tobytes(),
        *(encoded((RAMP * scale).astype(np.float32), "TIFF") for scale in (1, 255, 1023, 4095, 65535)),
    ):  # fmt: skip
        assert abs(opened(content)[..., 0] - RAMP * 255).max() <= 1
    resampled = RAMP * 1.03  # a little over white
    assert abs(reopened(resampled.astype(np.float32), "TIFF")[..., 0] - (resampled * 255).clip(0, 255)).max() <= 1


def test_a_tiff_of_12_bits_or_with_a_stated_white_keeps_its_brightness_however_dark_it_is():
    values = np.linspace(0, 200, 12 * 8).astype(np.uint16)
    packed = b"".join(((int(a) << 12) | int(b)).to_bytes(3, "big") for a, b in values.reshape(-1, 2))
    content = tiff_with(np.frombuffer(packed, np.uint8).reshape(8, 18), (256, 4, 1, 12), (258, 3, 1, 12))
    assert abs(opened(content)[..., 0].ravel() - values * 255 / 4095).max() <= 1
    for stated, white in ((4095, 4095), (600, 1023)):  # one that is exceeded is none
        content = tiff_with((RAMP * 700).astype(np.uint16), (281, 3, 1, stated))
        assert abs(opened(content)[..., 0] - RAMP * 700 * 255 / white).max() <= 1


@pytest.mark.parametrize(("values", "kind"), [
    *((RAMP * scale, np.float32) for scale in (3, 100, 1e6)),  # 3: with lights, or black?
    (RAMP * 2 - 1, np.float32), (np.where(RAMP > 0.5, np.nan, RAMP), np.float32),
    (np.where(RAMP > 0.5, np.inf, RAMP), np.float32), (RAMP * 1e6, np.int32), (RAMP * 300 - 100, np.int32),
])  # fmt: skip
def test_brightness_of_an_unknown_white_is_refused(values, kind):
    with pytest.raises(PhotoError, match="brightness from .* white is not known; save it with 8 bits"):
        reopened(values.astype(kind), "TIFF")


def test_16_bit_colours_keep_their_brightness_and_fewer_bits_stored_as_16_are_refused():
    def png(pixels: np.ndarray) -> bytes:  # of 48 bits, which Pillow does not write
        return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()

    colours = np.dstack([RAMP, RAMP[::-1], RAMP])
    assert abs(opened(png((colours * 65535).astype(np.uint16))) - colours * 255).max() <= 1
    for scale in (255, 4095):
        with pytest.raises(PhotoError, match="nearly black: fewer than 16 bits stored as 16"):
            opened(png((colours * scale).astype(np.uint16)))


# Colour profiles

PROFILES = Path(__file__).parent / "profiles"
P3 = (PROFILES / "display_p3.icc").read_bytes()  # Display P3, with a gamma of 2.2
ADOBE_RGB = (PROFILES / "adobe_rgb.icc").read_bytes()  # it calls itself sRGB
ROUNDED_SRGB = (PROFILES / "rounded_srgb.icc").read_bytes()  # a little off, as some programs write it
LINEAR_GREY = (PROFILES / "linear_grey.icc").read_bytes()
# Of a printer: whatever the other inks, cyan alone decides, and more of it is lighter.
MADE_UP_INKS = (PROFILES / "made_up_inks.icc").read_bytes()
COLOURS = np.uint8([[200, 60, 60], [60, 180, 60], [90, 90, 190], [128, 128, 128], [190, 160, 140]])
# By the standards:
P3_IN_SRGB = np.array([[219, 37, 49], [0, 185, 22], [90, 90, 198], [129, 129, 129], [197, 160, 138]])
ADOBE_IN_SRGB = np.array([[232, 57, 57], [0, 182, 42], [90, 90, 194], [129, 129, 129], [202, 161, 140]])
CHART = np.repeat(np.repeat(COLOURS[None], 16, 1), 16, 0)  # 16 x 80 x 3, patches of 16 x 16


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize(("profile", "expected"), [(P3, P3_IN_SRGB), (ADOBE_RGB, ADOBE_IN_SRGB)], ids=["P3", "Adobe"])
def test_colours_are_converted_to_srgb(form, profile, expected):
    photo = reopened(CHART, form, icc_profile=profile, quality=95)
    patches = np.array([photo[4:12, 16 * i + 4 : 16 * i + 12].mean((0, 1)) for i in range(len(expected))])
    assert abs(patches - expected).max() < (3 if form in ("PNG", "TIFF") else 8)


def test_a_photo_in_srgb_stays_as_it_is():
    for profile in (ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), ROUNDED_SRGB):
        assert np.array_equal(reopened(NOISE, icc_profile=profile), NOISE)


def test_palettes_transparency_and_grey_are_converted_too():
    plain = Image.new("RGB", (6, 8), tuple(COLOURS[0].tolist()))
    for image in (plain.convert("P", palette=Image.Palette.ADAPTIVE), plain.convert("RGBA")):
        assert abs(reopened(image, icc_profile=P3)[0, 0] - P3_IN_SRGB[0]).max() < 3
    half = plain.convert("RGBA")
    half.putalpha(128)
    assert abs(reopened(half, icc_profile=P3)[0, 0] - (P3_IN_SRGB[0] + 255) / 2).max() < 3
    for image in (Image.new("L", (6, 8), 100), Image.new("LA", (6, 8), (100, 255)), np.full((8, 6), 25700, np.uint16)):
        assert abs(reopened(image, icc_profile=LINEAR_GREY)[0, 0].astype(int) - 168).max() < 3


def test_cmyk_is_converted_by_its_profile():
    for cyan, low, high in ((0, 0, 40), (255, 220, 255)):
        inks = Image.new("CMYK", (16, 16), (cyan, 255 - cyan, 40, 0))
        for form in ("JPEG", "TIFF"):
            photo = reopened(inks, form, icc_profile=MADE_UP_INKS)
            assert low <= photo.min() and photo.max() <= high
            assert np.ptp(photo.astype(int), axis=2).max() < 12  # grey


@pytest.mark.parametrize("profile", [
    b"nonsense", P3[:200], P3[:128] + bytes(300), b"\0" * 128, MADE_UP_INKS, LINEAR_GREY,
], ids=str.split("nonsense cut_off no_tags zeros CMYK grey"))  # fmt: skip
def test_profiles_that_are_broken_or_for_other_colours_are_ignored(profile):
    assert np.array_equal(reopened(NOISE, icc_profile=profile), NOISE)


def test_profiles_are_used_in_many_threads_at_once():
    content = encoded(NOISE, icc_profile=P3)
    with ThreadPoolExecutor(8) as pool:
        assert all(np.array_equal(photo, opened(content)) for photo in pool.map(opened, [content] * 64))


# Limits and faults


def test_large_jpegs_are_decoded_at_a_reduced_scale_that_suffices_and_in_srgb(monkeypatch):
    colour = tuple(COLOURS[0].tolist())
    content = encoded(Image.new("RGB", (800, 800), colour), "JPEG", icc_profile=P3, quality=95)
    resize, decoded = Image.Image.resize, []
    monkeypatch.setattr(Image.Image, "resize", lambda photo, *how: decoded.append(photo.size) or resize(photo, *how))
    for size in ((64, 64), (101, 64), None):
        photo = opened(content, size=size)
        assert photo.shape == (*(size or (800, 800)), 3)
        assert abs(photo[9, 9] - P3_IN_SRGB[0]).max() < 8
    assert decoded == [(100, 100), (200, 200)]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_jpeg_at_a_reduced_scale_lies_as_the_whole_one_does(orientation):
    edges = np.zeros((449, 897), np.uint8)  # no multiples of 8
    edges[380:, 790:] = 255
    jpeg, png = (encoded(edges, form, exif=exif_of(orientation)) for form in ("JPEG", "PNG"))
    apart = opened(jpeg, size=(56, 112)).astype(int) - opened(png, size=(56, 112))
    assert abs(apart).max() < 30


@pytest.mark.parametrize(("content", "reason"), [
    (b"no image", "not an image"), (b"", "the file is empty"), (encoded(NOISE, "JPEG")[:700], "broken image"),
    (jpeg_with((0xFE, bytes(99)))[:50], "broken image"),  # and not what is said of it without metadata
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
    for bomb in (content, png_with(HUGE_TEXT, photo=content)):
        with pytest.raises(PhotoError, match="2 megapixels are over the limit of 1"):
            open_photo(io.BytesIO(bomb), max_megapixels=1)
    with pytest.raises(PhotoError, match="200 megapixels are over the limit of 100"):  # not Pillow's own limit of 179
        open_photo(io.BytesIO(b"P5 20000 10000 255\n"), max_megapixels=100)


def icon(picture: bytes) -> bytes:
    """An ICO of 16 x 16 pixels, as its header says, around a PNG."""
    return struct.pack("<3H4B2H2I", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(picture), 22) + picture


def test_a_picture_inside_a_photo_is_refused_before_decoding_as_well(monkeypatch):
    picture = encoded(Image.new("L", (2000, 1000)))
    assert opened(icon(picture)).shape == (1000, 2000, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500_000)  # of which Pillow refuses twice as many
    with pytest.raises(PhotoError, match="2 megapixels are over the limit of 1"):
        open_photo(io.BytesIO(icon(picture[:-20])), max_megapixels=1)
    open_photo(io.BytesIO(picture), max_megapixels=2)  # a higher limit is Pillow's as well


def test_a_tiff_of_huge_tiles_is_refused_before_decoding():
    tiles = (322, 4, 1, 2000), (323, 4, 1, 1000)
    with pytest.raises(PhotoError, match="2 megapixels are over the limit of 1"):
        opened(tiff_with(NOISE, *tiles), max_megapixels=1)


def test_a_jpeg_of_endless_scans_is_refused():
    photo = encoded(NOISE, "JPEG", progressive=True, comment=b"\xff\xda" * 200)
    assert opened(photo).shape == NOISE.shape
    last = photo[photo.rindex(b"\xff\xda") : -2]
    with pytest.raises(PhotoError, match="a JPEG of more than 100 scans"):
        opened(photo[:-2] + 100 * last + photo[-2:])
    assert opened(photo + 100 * last).shape == NOISE.shape  # behind its end is something else, such as a film
