"""Photographs open whatever their format, mode and metadata: upright, in sRGB, and never silently wrong."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from data.photo import PhotoError, open_photo
from tests.helpers import run_script

RED = np.zeros((8, 6, 3), np.uint8) + np.array([255, 0, 0], np.uint8)


def reopened(image: Image.Image, form: str = "PNG", **settings) -> Image.Image:
    file = io.BytesIO()
    image.save(file, form, **settings)
    file.seek(0)
    return open_photo(file)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF"])
def test_common_formats_open_as_rgb(form):
    photo = reopened(Image.fromarray(RED), form)
    assert (photo.mode, photo.size) == ("RGB", (6, 8))
    assert abs(np.asarray(photo).astype(int) - RED).max() < 12


def test_iphone_photographs_open(tmp_path):
    heif = pytest.importorskip("pi_heif")
    assert heif.register_heif_opener is not None
    assert ".heic" in Image.registered_extensions()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation):
    upright = np.arange(48, dtype=np.uint8).reshape(8, 6) * 5
    exif = Image.Exif()
    exif[0x0112] = orientation
    undo = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.T,
        6: lambda a: np.rot90(a, 1), 7: lambda a: np.rot90(a, 2).T, 8: lambda a: np.rot90(a, 3),
    }[orientation]  # fmt: skip
    stored = Image.fromarray(np.ascontiguousarray(undo(upright)))
    photo = reopened(stored, exif=exif.tobytes())
    assert np.array_equal(np.asarray(photo)[..., 0], upright)


def test_16_bit_grey_is_scaled_not_clipped():
    grey = np.linspace(0, 65535, 48).astype(np.uint16).reshape(8, 6)
    photo = np.asarray(reopened(Image.fromarray(grey)))
    assert abs(photo[..., 0].astype(int) - grey // 257).max() <= 1


def test_transparency_is_laid_over_white():
    rgba = np.dstack((RED, np.zeros((8, 6), np.uint8)))
    assert np.asarray(reopened(Image.fromarray(rgba))).min() == 255
    palette = Image.fromarray(RED).convert("P")
    assert np.asarray(reopened(palette))[0, 0].tolist() == [255, 0, 0]
    transparent = np.asarray(reopened(palette, transparency=palette.getpixel((0, 0))))
    assert transparent.min() == 255


@pytest.mark.parametrize("mode", ["L", "LA", "1", "CMYK", "YCbCr"])
def test_other_modes_become_rgb(mode):
    form = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    photo = reopened(Image.fromarray(RED).convert(mode), form)
    assert (photo.mode, photo.size) == ("RGB", (6, 8))


def test_bad_files_are_named_in_one_line(tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.png").write_bytes(b"")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (99, 99, 3), dtype=np.uint8)).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:2000])
    for name, reason in {
        "text.jpg": "not an image",
        "empty.png": "not an image",
        "cut.jpg": "broken",
        "no": "no such",
    }.items():
        with pytest.raises(PhotoError, match=reason) as error:
            open_photo(tmp_path / name)
        assert "\n" not in str(error.value)


def test_photographs_over_the_pixel_limit_are_refused_before_decoding():
    file = io.BytesIO()
    Image.new("L", (2000, 1000)).save(file, "PNG")
    with pytest.raises(PhotoError, match="2 megapixels are over the limit of 1"):
        open_photo(file, max_megapixels=1)


# Metadata that is broken or too large


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_with(*chunks: bytes) -> io.BytesIO:
    """RED as a PNG with more chunks after its header."""
    file = io.BytesIO()
    Image.fromarray(RED).save(file, "PNG")
    content = file.getvalue()
    return io.BytesIO(content[:33] + b"".join(chunks) + content[33:])


def jpeg_with(*segments: tuple[int, bytes]) -> io.BytesIO:
    """RED as a JPEG with (marker, content) segments at its start."""
    file = io.BytesIO()
    Image.fromarray(RED).save(file, "JPEG", quality=98)
    content = file.getvalue()
    added = b"".join(struct.pack(">BBH", 0xFF, marker, len(text) + 2) + text for marker, text in segments)
    return io.BytesIO(content[:2] + added + content[2:])


def tiff_tags(*entries: bytes) -> bytes:
    """EXIF of these 12-byte entries."""
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4)


TURNED = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
PACKED = zlib.compress(b"x" * 5_000_000)


@pytest.mark.parametrize(
    "file",
    [
        png_with(chunk(b"tEXt", b"Comment\0" + b"x" * 2_000_000)),
        png_with(chunk(b"zTXt", b"Comment\0\0" + PACKED)),
        png_with(chunk(b"iTXt", b"Comment\0\1\0\0\0" + PACKED)),
        png_with(*[chunk(b"zTXt", b"c\0\0" + zlib.compress(b"x" * 1_000_000))] * 70),
        png_with(chunk(b"zTXt", b"Comment\0\7abc")),
        png_with(chunk(b"iCCP", b"name\0\1abc")),
        png_with(chunk(b"iCCP", b"name\0\0" + PACKED)),
        png_with(chunk(b"gAMA", b"")),
        png_with(chunk(b"tEXt", b"Comment\0hello")[:-4] + b"1234"),
        png_with(chunk(b"eXIf", b"not TIFF")),
        jpeg_with((0xE1, b"Exif\0\0not TIFF")),
        jpeg_with((0xE1, tiff_tags(struct.pack("<HHIHH", 0x0112, 3, 1, 9, 0)))),
        jpeg_with((0xE1, tiff_tags(TURNED)[:-9])),
        jpeg_with((0xE2, b"MPF\0II")),
        jpeg_with((0xE2, b"ICC_PROFILE\0\1\3" + bytes(14))),
        jpeg_with((0xEE, b"Adobe")),
        jpeg_with((0xE0, b"JFIF\0")),
    ],
    ids=[
        "text",
        "ztxt",
        "itxt",
        "many-texts",
        "text-method",
        "icc-method",
        "icc-size",
        "gamma",
        "checksum",
        "exif-png",
        "exif-jpeg",
        "orientation-9",
        "exif-cut",
        "multi-picture",
        "icc-part",
        "adobe",
        "jfif",
    ],
)
def test_sound_pixels_are_used_whatever_is_wrong_with_the_metadata(file):
    photo = open_photo(file)
    assert abs(np.asarray(photo).astype(int) - RED).max() < 8
    assert photo.info == {}


@pytest.mark.parametrize(
    "tags",
    [
        tiff_tags(TURNED),
        tiff_tags(TURNED, struct.pack("<HHII", 0x8769, 4, 1, 99_999)),
        tiff_tags(TURNED, struct.pack("<HHII", 0x8769, 4, 1, 8)),
        tiff_tags(TURNED, struct.pack("<HHII", 0x9286, 7, 5000, 99_999)),
        tiff_tags(struct.pack("<HHI4s", 0x0100, 77, 1, b"odd!"), TURNED),
        tiff_tags(struct.pack("<HHII", 0x0112, 4, 1, 6)),
        tiff_tags(struct.pack("<HHI4s", 0x0112, 1, 1, b"\6\0\0\0")),
    ],
    ids=["plain", "pointer-outside", "pointer-to-itself", "value-outside", "unknown-type", "long", "byte"],
)
def test_the_orientation_is_applied_whatever_is_wrong_with_other_tags(tags):
    assert open_photo(jpeg_with((0xE1, tags))).size == (8, 6)


def test_metadata_too_large_does_not_cost_the_orientation():
    file = png_with(chunk(b"zTXt", b"Comment\0\0" + PACKED), chunk(b"eXIf", tiff_tags(TURNED)[6:]))
    assert open_photo(file).size == (8, 6)


def test_pillows_warnings_of_metadata_stay_off_the_screen(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg_with((0xE1, tiff_tags(TURNED)[:-9])).getvalue())
    code = "import sys; from data.photo import open_photo; open_photo(sys.argv[1])"
    assert run_script("-W", "default", "-c", code, tmp_path / "a.jpg").stderr == ""


# Brightness


GREY = np.linspace(0, 250, 48).round().astype(np.uint8).reshape(8, 6)


@pytest.mark.parametrize(
    "values",
    [
        (GREY / 250).astype(np.float32),
        GREY.astype(np.float32),
        (GREY * 257.0).astype(np.float32),
        GREY.astype(np.uint16) * 4,
        GREY.astype(np.uint16) * 16,
        GREY.astype(np.uint16) * 257,
        GREY.astype(np.int32) * 257,
    ],
    ids=["0..1", "0..255", "0..65535", "10-bit", "12-bit", "16-bit", "32-bit"],
)
def test_grey_of_more_than_8_bits_keeps_its_brightness(values):
    photo = np.asarray(reopened(Image.fromarray(values), "TIFF")).astype(int)
    assert abs(photo - GREY[..., None]).max() <= 5


@pytest.mark.parametrize("values", [[-1, 0.5], [0, np.nan], [0, 3.5], [0, np.inf], [0, 1e6]], ids=str)
def test_float_values_that_may_mean_anything_are_refused_not_black(values):
    with pytest.raises(PhotoError, match="save it as 8 bits") as error:
        reopened(Image.fromarray(np.array([values], np.float32)), "TIFF")
    assert "\n" not in str(error.value)


# Colour profiles


def rgb_profile(red: tuple, green: tuple, blue: tuple) -> bytes:
    """A profile of gamma 2.2 with these primaries (XYZ)."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))

    gamma = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(2.2 * 256), 0)
    name = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(79)
    tags = {
        b"desc": name, b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": xyz(0.9642, 1, 0.8249),
        b"rXYZ": xyz(*red), b"gXYZ": xyz(*green), b"bXYZ": xyz(*blue), b"rTRC": gamma, b"gTRC": gamma, b"bTRC": gamma,
    }  # fmt: skip
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for kind, content in tags.items():
        table += kind + struct.pack(">II", start + len(body), len(content))
        body += content
    head = struct.pack(">III", start + len(body), 0, 0x02100000) + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    return head + struct.pack(">3i", 63190, 65536, 54061) + bytes(48) + table + body


ADOBE = rgb_profile((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
P3 = rgb_profile((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
SKIN = np.zeros((8, 6, 3), np.uint8) + np.array([200, 120, 90], np.uint8)


@pytest.mark.parametrize(
    ("profile", "expected"), [(ADOBE, (222, 120, 87)), (P3, (215, 116, 86))], ids=["Adobe RGB", "Display P3"]
)
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
def test_photographs_with_a_profile_are_converted_to_srgb(form, profile, expected):
    photo = reopened(Image.fromarray(SKIN), form, icc_profile=profile)
    assert abs(np.asarray(photo)[4, 3].astype(int) - expected).max() <= 4
    assert "icc_profile" not in photo.info


def test_a_profile_is_applied_to_palettes_and_beneath_transparency():
    expected = np.asarray(reopened(Image.fromarray(SKIN), icc_profile=ADOBE))
    palette = Image.fromarray(SKIN).convert("P", palette=Image.Palette.ADAPTIVE)
    assert np.array_equal(np.asarray(reopened(palette, icc_profile=ADOBE)), expected)
    opaque = np.dstack((SKIN, np.full((8, 6), 255, np.uint8)))
    opaque[0, :, 3] = 0
    photo = np.asarray(reopened(Image.fromarray(opaque), icc_profile=ADOBE))
    assert np.array_equal(photo[1:], expected[1:])
    assert (photo[0] == 255).all()


@pytest.mark.parametrize(
    "profile",
    [
        b"junk" * 50,
        ADOBE[:200],
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    ],
    ids=["junk", "cut off", "of another mode", "sRGB"],
)
def test_profiles_that_are_broken_or_change_nothing_are_ignored(profile):
    photo = reopened(Image.fromarray(SKIN), icc_profile=profile)
    assert np.array_equal(np.asarray(photo), SKIN)
    assert photo.info == {}


def test_an_rgb_profile_on_a_grey_or_cmyk_photo_is_ignored():
    for mode, form in (("L", "PNG"), ("CMYK", "JPEG")):
        photo = Image.fromarray(SKIN).convert(mode)
        with_profile, without = (reopened(photo, form, **p) for p in ({"icc_profile": ADOBE}, {}))
        assert np.array_equal(np.asarray(with_profile), np.asarray(without))
