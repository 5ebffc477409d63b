"""The forms in which a Python program may hand over a photo: each gives the pixels that its file would give."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from data.photos.open import PhotoError, open_photo
from data.photos.take import TAKES, take_photo
from tests.helpers import encoded, exif_of

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
RGB = Image.fromarray(PIXELS)
GREY = np.asarray(RGB.convert("L"))


def hidden() -> Image.Image:
    """Half of its pixels are transparent, and have colours of their own."""
    image = RGB.convert("RGBA")
    image.putalpha(Image.fromarray(np.where(np.arange(30) < 15, 0, 255).astype(np.uint8)[None].repeat(20, 0)))
    return image


IMAGES = {
    "RGB": RGB, "L": RGB.convert("L"), "1": RGB.convert("1"), "P": RGB.quantize(16), "RGBA": hidden(),
    "LA": hidden().convert("LA"), "PA": hidden().quantize(16).convert("PA"), "CMYK": RGB.convert("CMYK"),
    "I;16": Image.fromarray(GREY.astype(np.uint16) * 257), "I": Image.fromarray(GREY.astype(np.int32) * 257),
    "F": Image.fromarray(GREY.astype(np.float32) / 255), "LAB": ImageCms.profileToProfile(
        RGB, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    ),
}  # fmt: skip


@pytest.mark.parametrize("mode", IMAGES)
def test_an_image_of_any_mode_is_converted_as_its_file_is(mode):
    image = IMAGES[mode]
    kind = "TIFF" if mode in ("CMYK", "I", "F", "LAB") else "PNG"
    file = image.convert("RGBA") if mode == "PA" else image  # no format stores palettes with alpha
    expected = open_photo(io.BytesIO(encoded(file, kind)))
    found = take_photo(image)
    assert found.mode == "RGB"
    assert np.array_equal(found, expected)
    if mode == "RGBA":
        assert (np.asarray(found)[:, :15] == 255).all()  # hidden colours are laid over white


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "RGBX", "RGBa", "La"])
def test_modes_that_no_file_has_give_nearly_the_same_colours(mode):
    image = IMAGES[{"RGBa": "RGBA", "La": "LA"}.get(mode, "RGB")]
    found = take_photo(image.convert(mode))
    assert found.mode == "RGB"
    assert np.abs(np.asarray(found).astype(int) - np.asarray(take_photo(image))).max() <= 12


def test_an_opened_image_is_turned_upright_unless_told_otherwise():
    content = encoded(RGB, exif=exif_of(6))
    assert np.array_equal(take_photo(Image.open(io.BytesIO(content))), RGB.transpose(Image.Transpose.ROTATE_270))
    assert np.array_equal(take_photo(Image.open(io.BytesIO(content)), upright=False), RGB)
    assert take_photo(RGB) is RGB


@pytest.mark.parametrize(("array", "bgr", "expected"), [
    (PIXELS, False, PIXELS), (PIXELS[..., ::-1], True, PIXELS), (GREY, False, np.stack(3 * [GREY], -1)),
    *((view, False, view) for view in (PIXELS[:, ::-1], PIXELS[::2, ::3], np.asfortranarray(PIXELS), PIXELS[:1, :1])),
])  # fmt: skip
def test_arrays_are_rgb_or_greys_or_with_bgr_in_opencvs_order(array, bgr, expected):
    assert np.array_equal(take_photo(array, bgr), expected)


def test_bytes_files_and_paths_are_opened(tmp_path, monkeypatch):
    content = encoded(RGB)
    (tmp_path / "a.png").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "a.png").open("rb") as file:
        forms = ["a.png", Path("a.png"), content, bytearray(content), memoryview(content), io.BytesIO(content), file]
        forms.append(memoryview(bytes(byte for pair in zip(content, content, strict=True) for byte in pair))[::2])
        for form in forms:
            assert np.array_equal(take_photo(form), RGB), form


@pytest.mark.parametrize(("source", "described"), [
    (None, "a NoneType"), ([RGB], "a list"), (torch.zeros(3, 8, 8), "a torch.Tensor"),
    (io.StringIO("text"), "a _io.StringIO"), (np.zeros((8, 8), np.uint16), "an array of 8 x 8 uint16"),
    (np.zeros((8, 8, 3)), "an array of 8 x 8 x 3 float64"), (np.array(3, np.uint8), "an array of no dimensions uint8"),
    (np.zeros((3, 8, 8), np.uint8), "an array of 3 x 8 x 8 uint8"),
    (np.zeros((0, 8, 3), np.uint8), "an array of 0 x 8 x 3 uint8"),
])  # fmt: skip
def test_anything_else_is_refused_with_the_types_that_are_taken(source, described):
    with pytest.raises(PhotoError) as caught:
        take_photo(source)
    assert str(caught.value) == f"cannot take {described} as a photo; {TAKES}"


CLOSED = io.BytesIO()
CLOSED.close()


def closed_image(read_before: bool, by_file: bool) -> Image.Image:
    """As a notebook has it after its with block, or after the file that it was opened from was closed."""
    file = io.BytesIO(encoded(RGB))
    with Image.open(file) as image:
        if read_before:
            image.load()
        if by_file:
            file.close()
            return image
    image.close()
    return image


def read_before() -> io.BytesIO:
    file = io.BytesIO(encoded(RGB))
    take_photo(file)
    return file


@pytest.mark.parametrize(("source", "bgr", "words"), [
    (b"no image", False, "not an image in a format"), ("absent.jpg", False, "no such file"),
    (Image.open(io.BytesIO(encoded(RGB)[:300])), False, "broken image"),
    (Image.new("RGB", (0, 5)), False, "it has no pixels"), (RGB, True, "bgr is for arrays, not for a PIL image"),
    (GREY, True, "bgr is for arrays of H x W x 3"), (CLOSED, False, "the file cannot be read .*closed file"),
    (closed_image(False, False), False, "image is closed; use it"), (closed_image(True, False), False, "is closed"),
    (closed_image(False, True), False, "is closed"), (read_before(), False, r"read to its end before; .*seek\(0\)"),
])  # fmt: skip
def test_what_cannot_be_opened_says_why(source, bgr, words):
    with pytest.raises(PhotoError, match=words):
        take_photo(source, bgr)
