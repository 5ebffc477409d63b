import io

import numpy as np
import pytest
from PIL import Image

from data.photo import PhotoError, open_photo

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
