"""Label maps of any content: used where they are sound, counted or refused in one line where they are not."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.classes import CLOTHES
from data.label_folder import read_folder, runs_of_values
from data.rle import rasterise
from utils.errors import UserError
from utils.labels import PALETTE, SOME_CLOTHES, UNKNOWN

fuzz = settings(max_examples=100, deadline=None, database=None)  # a busy machine is not a fault
VALUES = np.array([[0, 1, 1, 0], [2, 2, 3, UNKNOWN], [0, SOME_CLOTHES, 3, UNKNOWN]], np.uint8)


def png(values: np.ndarray, palette: bool) -> bytes:
    image = Image.fromarray(values)
    if palette:
        image.putpalette(PALETTE.ravel().tolist())
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A photo, and a folder for its label map."""
    folder = tmp_path_factory.mktemp("maps")
    (folder / "photos").mkdir()
    (folder / "maps").mkdir()
    Image.new("RGB", VALUES.shape[::-1]).save(folder / "photos/a.jpg")
    return folder


def read_or_refuse(content: bytes, folder: Path) -> np.ndarray | None:
    """Its photo's label map where a file with this content is a usable one."""
    (folder / "maps/a.png").write_bytes(content)
    try:
        table = read_folder(str(folder / "maps"), str(folder / "photos"), CLOTHES)
    except UserError as error:
        assert "\n" not in str(error)
        return None
    return table.label_map(0)


@pytest.mark.parametrize("palette", [False, True])
def test_a_label_map_is_read_as_it_is(folder, palette):
    assert np.array_equal(read_or_refuse(png(VALUES, palette), folder), VALUES)


@fuzz
@given(st.booleans(), st.integers(0, 2000), st.integers(0, 255), st.booleans())
def test_a_damaged_label_map_is_used_or_refused_in_one_line(folder, palette, place, value, cut):
    content = bytearray(png(VALUES, palette))
    place %= len(content)
    content[place] = value
    label = read_or_refuse(bytes(content[:place] if cut else content), folder)
    assert label is None or label.shape == VALUES.shape


@fuzz
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_runs_of_values_draw_the_label_map(height, width, seed):
    values = np.random.default_rng(seed).choice([0, 0, 1, 2, UNKNOWN], (height, width)).astype(np.uint8)
    drawn = np.zeros_like(values)
    for value, runs in runs_of_values(values).items():
        drawn[rasterise(runs, height, width, (height, width))] = value
    assert np.array_equal(drawn, values)
