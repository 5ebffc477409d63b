"""A label map has the same values whichever way it was saved; any other content is a fault."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data.labels.label_map_values import read_label_map
from data.labels.rle import LabelError
from tests.helpers import encoded, png_chunk
from utils.label_values import PALETTE, UNKNOWN

LABEL = np.array([[0, 1, 1, 0], [2, 2, 3, 1], [0, 0, 3, 2]], np.uint8)
COLOURS = PALETTE[LABEL]


def grey_png(label: np.ndarray, bits: int) -> bytes:
    """A greyscale PNG of less than 8 bits, which Pillow does not write."""
    single = np.unpackbits(label[..., None], axis=2)[:, :, 8 - bits :].reshape(len(label), -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in single)
    header = struct.pack(">IIBBBBB", label.shape[1], label.shape[0], bits, 0, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(rows), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(name, data) for name, data in chunks.items())


def with_palette(places: np.ndarray, palette: np.ndarray = PALETTE) -> Image.Image:
    image = Image.fromarray(places)
    image.putpalette(palette.astype(np.uint8).tobytes())
    return image


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("maps") / "a.png"


def values_of(content: bytes, path: Path) -> np.ndarray:
    path.write_bytes(content)
    return read_label_map(path)


def with_alpha(pixels: np.ndarray, alpha: np.ndarray | int) -> Image.Image:
    layer = np.broadcast_to(np.uint8(alpha), LABEL.shape)
    return Image.fromarray(np.dstack((pixels, layer)))


GREY = np.dstack([LABEL] * 3)
BOMB = grey_png(LABEL, 4)[:8] + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0))
ORDER = np.array([0, 3, 1, 2])  # places of the classes in a sorted palette
OTHER_COLOURS = np.array([(0, 0, 0), (255, 85, 0), (0, 0, 85), (0, 128, 0)])  # LIP's, say


@pytest.mark.parametrize(("content", "label"), [*((content, LABEL) for content in (
    encoded(LABEL), encoded(LABEL.astype(np.uint16)), encoded(GREY), encoded(COLOURS),
    encoded(np.dstack((LABEL, LABEL * 0, LABEL * 0))), encoded(with_palette(LABEL)),
    encoded(with_palette(LABEL), bits=2), encoded(with_palette(LABEL), transparency=0),
    encoded(with_palette(LABEL, OTHER_COLOURS)),
    encoded(with_palette(ORDER[LABEL].astype(np.uint8), PALETTE[np.argsort(ORDER)])),
    encoded(with_palette(LABEL, PALETTE[[0, 1, 1, 0]])),  # some of its colours twice, and fewer than places:
    encoded(with_palette(LABEL)).replace(png_chunk(b"PLTE", PALETTE.tobytes()), png_chunk(b"PLTE", bytes(9))),
    cv2.imencode(".png", LABEL)[1].tobytes(), grey_png(LABEL, 2), grey_png(LABEL, 4),
    encoded(with_alpha(LABEL, 255)), encoded(with_alpha(GREY, 255)), encoded(with_alpha(COLOURS, 255)),
    encoded(with_alpha(COLOURS, np.where(LABEL, 128, 0))), encoded(with_alpha(LABEL, np.where(LABEL, 1, 0))),
)),
    (grey_png(LABEL % 2, 1), LABEL % 2),
    (encoded(with_palette(LABEL % 2 * np.uint8(128), np.arange(256)[:, None].repeat(3, 1))), LABEL % 2 * 128),
    (encoded(np.full((2, 2, 3), PALETTE[1])), np.full((2, 2), 1)),  # and not the red channel, 128
    (encoded(PALETTE[[[254, 255]]]), [[254, 255]]),
    (encoded(np.full((2, 2, 3), 128, np.uint8)), np.full((2, 2), 128)),
    (encoded(with_alpha(COLOURS, 0)), np.where(LABEL, UNKNOWN, 0)),  # transparent is not background
    (encoded(with_alpha(GREY, np.where(LABEL == 3, 0, 9))), np.where(LABEL == 3, UNKNOWN, LABEL)),
])  # fmt: skip
def test_a_map_has_its_values_however_it_was_saved(content, label, path):
    assert np.array_equal(values_of(content, path), label)


@pytest.mark.parametrize(("content", "kind", "detail"), [
    (encoded(COLOURS + np.uint8([0, 0, 5])), "colour that stands for no class", "(0, 0, 5) at x 0, y 0"),
    (encoded(cv2.resize(COLOURS, (9, 9))), "colour that stands for no class", "("),
    (encoded(LABEL)[:50], "cannot be read", "broken image"),
    (BOMB + png_chunk(b"IDAT", b""), "more than 250 megapixels", ""),
    *((cv2.imencode(".png", np.dstack([LABEL] * n).astype(np.uint16))[1].tobytes(), "16 bits in several", "save it")
      for n in (3, 4)),
])  # fmt: skip
def test_what_is_no_label_map_is_a_fault(content, kind, detail, path):
    with pytest.raises(LabelError, match=kind) as error:
        values_of(content, path)
    assert error.value.detail.startswith(detail)


FILES = [encoded(LABEL), encoded(with_palette(LABEL)), encoded(with_alpha(COLOURS, 255)), grey_png(LABEL, 4)]


@given(st.sampled_from(FILES), st.integers(0, 2000), st.binary(max_size=3), st.booleans())
def test_a_damaged_label_map_is_read_or_a_fault(path, content, place, other, cut):
    place %= len(content)
    rest = b"" if cut else content[place + len(other) :]
    try:
        assert values_of(content[:place] + other + rest, path).ndim == 2
    except LabelError as error:
        assert "\n" not in str(error)
