"""Label maps of any content: used where they are sound, counted or refused in one line where they are not."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.classes import CLOTHES
from data.label_values import PALETTE, UNKNOWN
from data.labels.maps import runs_of_values
from data.labels.rle import rasterise
from data.photos.folder import result_names
from data.results.formats import FORMATS, result_path
from data.results.segmentation import Segmentation
from data.training.augmentation import TrainTransform
from data.training.sampler import Draw
from data.training.samples import EvaluationPhotos, TrainingPhotos, close_up
from data.training.sources import Augmentation
from tests.data.labels.drawn import (
    BOX,
    HEIGHT,
    WIDTH,
    assert_in_register,
    assert_usable,
    photo_of,
    read,
    save_photo,
)
from tests.helpers import flags_of, run_here
from utils.errors import UserError

LABEL = np.where(BOX, 1, 0).astype(np.uint8)
LABEL[30:36, 8:20] = 2


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def grey_png(label: np.ndarray, bits: int) -> bytes:
    """A greyscale PNG of less than 8 bits, which Pillow does not write."""
    single = np.unpackbits(label[..., None], axis=2)[:, :, 8 - bits :].reshape(len(label), -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in single)
    header = struct.pack(">IIBBBBB", label.shape[1], label.shape[0], bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def png(image: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def with_palette(label: np.ndarray) -> Image.Image:
    image = Image.fromarray(label)
    image.putpalette(PALETTE.tobytes())
    return image


def save_map(path: Path, label: np.ndarray = LABEL) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(label.astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A photo, and a folder for its label map."""
    folder = tmp_path_factory.mktemp("maps")
    save_photo(folder / "photos/a.jpg", LABEL > 0)
    (folder / "maps").mkdir()
    return folder


def label_of(content: bytes, folder: Path) -> np.ndarray:
    """The photo's label map where a file with this content is its label map."""
    (folder / "maps/a.png").write_bytes(content)
    table = read(folder / "maps", folder / "photos")
    assert_usable(table)
    return table.label_map(0)


@pytest.mark.parametrize(
    "content",
    [
        png(Image.fromarray(LABEL)),
        png(Image.fromarray(LABEL.astype(np.uint16))),
        png(with_palette(LABEL)),
        png(with_palette(LABEL), bits=2),
        cv2.imencode(".png", LABEL)[1].tobytes(),
        grey_png(LABEL, 2),
        grey_png(LABEL, 4),
    ],
)
def test_grey_and_palette_maps_of_any_depth_are_read(content, folder):
    assert np.array_equal(label_of(content, folder), LABEL)


def test_a_map_of_one_bit_has_the_values_0_and_1(folder):
    assert np.array_equal(label_of(grey_png(LABEL % 2, 1), folder), LABEL % 2)


def test_unknown_pixels_stay_unknown_in_training_and_evaluation(tmp_path):
    label = LABEL.copy()
    label[:4] = UNKNOWN
    save_photo(tmp_path / "photos/a.jpg", LABEL > 0)
    save_map(tmp_path / "maps/a.png", label)
    table = read(tmp_path / "maps", tmp_path / "photos")
    assert np.array_equal(EvaluationPhotos(table)[0][1], label)
    sample = TrainingPhotos(table, TrainTransform((HEIGHT, WIDTH), 0.5, 0.5, Augmentation()), 4)[Draw(0, 0, 0)]
    assert np.array_equal(sample.label.numpy(), label)
    expected, _ = close_up(photo_of(LABEL > 0), LABEL)
    assert EvaluationPhotos(table, close_ups=True)[0][0].size == expected.size


def test_the_programs_own_results_are_label_maps(tmp_path):
    for name in ("z.jpg", "b.jpg", "b.jpeg"):
        save_photo(tmp_path / "photos" / name, LABEL > 0)
    result = Segmentation.from_labels(LABEL, CLOTHES.names, photo_of(LABEL > 0))
    names = result_names([Path("z.jpg"), Path("b.jpg"), Path("b.jpeg")])
    for output in ("mask", "binary", "cutout"):  # masks and what lies in folders beside them
        for name in names.values():
            path = result_path(tmp_path / "results", name, output, "any")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(FORMATS[output].encode(result))
    table = read(tmp_path / "results", tmp_path / "photos")
    assert sorted(path.name for path in table.files) == ["b.jpeg", "b.jpg", "z.jpg"]
    assert all(np.array_equal(table.label_map(i), LABEL) for i in range(3))
    assert "6 label maps are passed over: their photo has another" in table.lines()[0]


@pytest.mark.parametrize("maps", ["photos", "photos/maps"])
def test_maps_in_the_folder_of_the_photographs_or_below_it_are_not_photographs(maps, tmp_path):
    save_photo(tmp_path / "photos/a.JPG", LABEL > 0)
    save_map(tmp_path / maps / "a.png")
    table = read(tmp_path / maps, tmp_path / "photos")
    assert [path.name for path in table.files] == ["a.JPG"]
    assert_in_register(table)
    if maps != "photos":
        options = {"image_folder": tmp_path / "photos", "df_path": tmp_path / maps}
        assert "photographs without any row: 0" in run_here("-m", "data.audit", *flags_of(options)).stdout


def test_maps_that_cannot_be_used_are_counted(tmp_path):
    for name in "abcde":
        save_photo(tmp_path / f"photos/{name}.jpg")
    maps = tmp_path / "maps"
    save_map(maps / "a.png", np.zeros_like(LABEL))
    save_map(maps / "b.png", LABEL[:20])
    photo_of(BOX).save(maps / "c.png")
    (maps / "d.png").write_text("no image")
    save_map(maps / "gone.PNG")
    save_map(maps / ".hidden.png")
    table = read(maps, tmp_path / "photos")
    assert [path.name for path in table.files] == ["a.jpg"]
    assert table.skipped.count == {
        "label map of another shape than its photo": 1,
        "label map that is neither grey nor palette": 1,
        "label map that cannot be read": 1,
        "missing photo": 1,
    }
    first = table.skipped.first["label map of another shape than its photo"]
    assert first == "label map 2, b.png: the label map has 30x20, the photo has 30x40"


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (LABEL * 7, "a.png has the value 7, but there are 4 classes, 0 to 3: background, upper, lower, full"),
        (LABEL.clip(0, 1) * 255, "hold only 0 and 255, and 255 stands for unknown"),
    ],
)
def test_values_that_are_not_classes_are_refused(label, words, folder):
    with pytest.raises(UserError, match=words):
        label_of(png(Image.fromarray(label)), folder)


def test_a_folder_without_maps_is_refused(folder):
    with pytest.raises(UserError, match="there are no label maps"):
        read(folder / "photos", folder / "photos")


fuzz = settings(max_examples=100, deadline=None, database=None)  # a busy machine is not a fault
FILES = [png(Image.fromarray(LABEL)), png(with_palette(LABEL)), grey_png(LABEL, 4)]


@fuzz
@given(st.sampled_from([*FILES, b"\x89PNG\r\n\x1a\n"]), st.integers(0, 2000), st.binary(max_size=3), st.booleans())
def test_a_damaged_label_map_is_used_or_refused_in_one_line(folder, content, place, other, cut):
    place %= len(content)
    try:
        label = label_of(content[:place] + other + (b"" if cut else content[place + len(other) :]), folder)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert label.shape == LABEL.shape


@fuzz
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_runs_of_values_draw_the_label_map(height, width, seed):
    values = np.random.default_rng(seed).choice([0, 0, 1, 2, UNKNOWN], (height, width)).astype(np.uint8)
    drawn = np.zeros_like(values)
    for value, runs in runs_of_values(values).items():
        drawn[rasterise(runs, height, width, (height, width))] = value
    assert np.array_equal(drawn, values)
