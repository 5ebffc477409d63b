"""Labels as people have them: tables of spreadsheets, resized and turned photographs, COCO files, label maps."""

import bz2
import csv
import gzip
import io
import json
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import cv2
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from PIL import Image

from data.classes import CLOTHES, ClassTable, load_class_table
from data.label_values import PALETTE, UNKNOWN
from data.labels.coco import runs_of
from data.labels.photo_finder import MOST_PIXELS
from data.labels.read import read_labels
from data.labels.rle import encode_rle, rasterise
from data.labels.table import LabelTable
from data.photos.folder import result_names
from data.results.formats import FORMATS, result_path
from data.results.segmentation import Segmentation
from data.training.augmentation import TrainTransform
from data.training.sampler import Draw
from data.training.samples import EvaluationPhotos, TrainingPhotos, close_up
from data.training.sources import Augmentation
from tests.helpers import DataSet, flags_of, run_here, training_flags
from utils.errors import UserError
from utils.evaluation.compare import Evaluation
from utils.evaluation.metrics import ConfusionMatrix

HEADER = ["ImageId", "EncodedPixels", "Height", "Width", "ClassId"]
HEIGHT, WIDTH = 40, 30
ORIENTATION = 0x0112


def mask_of(top: int, left: int, bottom: int, right: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


BOX = mask_of(5, 6, 25, 20)
ROW = [encode_rle(BOX), HEIGHT, WIDTH, 1]


def photo_of(mask: np.ndarray) -> Image.Image:
    """A black photo that is white where the mask is."""
    return Image.fromarray(mask.astype(np.uint8) * 255).convert("RGB")


def save_photo(path: Path, mask: np.ndarray = BOX, orientation: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    photo_of(mask).save(path, exif=exif, **({"quality": 95} if path.suffix.lower() in (".jpg", ".jpeg") else {}))
    return path


def write_csv(folder: Path, *rows: list, header: list = HEADER, **dialect) -> str:
    with (folder / "table.csv").open("w", newline="") as file:
        csv.writer(file, **dialect).writerows([header, *rows])
    return str(folder / "table.csv")


def read(df_path: object, image_folder: Path, classes: ClassTable = CLOTHES, **options) -> LabelTable:
    return read_labels(str(df_path), str(image_folder), classes, **options)


def assert_in_register(table: LabelTable) -> None:
    """The labels of each photo lie where it is white, as they are trained on and as they are compared with."""
    photos = EvaluationPhotos(table)
    training = TrainingPhotos(table, TrainTransform((64, 48), 0.5, 0.5, Augmentation()), 4)
    for index in range(len(table)):
        photo, label = photos[index]
        assert label.shape == photo.size[::-1] == table.size(index)
        assert ((np.asarray(photo.convert("L")) > 127) == (label > 0)).mean() > 0.97
        assert label.any()
        sample = training[Draw(0, index, 0)]
        assert ((sample.image[0] > 0) == (sample.label > 0)).float().mean() > 0.95


# Photographs without clothes


def test_a_photo_with_empty_pixels_has_no_clothes_and_is_kept(tmp_path):
    for name in "abcd":
        save_photo(tmp_path / f"{name}.jpg")
    table = read(
        write_csv(
            tmp_path,
            ["a.jpg", "", HEIGHT, WIDTH, 3],
            ["a.jpg", "nan", HEIGHT, WIDTH, ""],
            ["b.jpg", "", "", "", ""],  # beside other rows of its photo
            ["b.jpg", *ROW],
            ["c.jpg", "", "", "", "none"],
            ["d.jpg", "", "", "", ""],  # what cannot be read of it may have been clothes
            ["d.jpg", "1 2 3", HEIGHT, WIDTH, 1],
        ),
        tmp_path,
    )
    assert [path.name for path in table.files] == ["a.jpg", "b.jpg", "c.jpg"]
    assert [bool(table.label_map(i).any()) for i in range(3)] == [False, True, False]
    assert table.skipped.count == {"an odd count of run-lengths": 1}
    assert np.array_equal(table.label_map(1) == 1, BOX)
    samples = TrainingPhotos(table, TrainTransform((32, 32), 0.5, 0.5, Augmentation()), 4)
    assert samples[Draw(0, 0, 0)].label.unique().tolist() == [0]
    assert samples[Draw(0, 0, 0)].weight == 1


def test_a_table_of_photographs_without_clothes_alone_is_usable(tmp_path):
    save_photo(tmp_path / "a.jpg")
    assert len(read(write_csv(tmp_path, ["a.jpg", "", "", "", ""]), tmp_path)) == 1


def test_a_row_cut_off_is_not_a_photo_without_clothes(tmp_path):
    save_photo(tmp_path / "a.jpg")
    with pytest.raises(UserError, match="nothing usable.*row with too few cells"):
        read(write_csv(tmp_path, ["a.jpg", ""]), tmp_path)


def test_false_alarms_are_the_share_of_pixels_on_photographs_without_clothes():
    def matrix(*counts: list) -> ConfusionMatrix:
        result = ConfusionMatrix(3)
        result.counts = np.array(counts)
        return result

    bare, bare_and_found = matrix([90, 0, 0], [0] * 3, [0] * 3), matrix([20, 6, 4], [0] * 3, [0] * 3)
    clothed, unknown = matrix([10, 50, 0], [5, 5, 0], [0] * 3), matrix([0] * 3, [0] * 3, [0] * 3)
    result = Evaluation(ConfusionMatrix(3), None, {0: bare, 1: clothed, 2: bare_and_found, 3: unknown})
    assert result.false_alarm() == 10 / 120
    assert len(result.without_clothes()) == 2
    assert np.isnan(Evaluation(ConfusionMatrix(3), None, {0: clothed}).false_alarm())


@pytest.mark.parametrize("bare", [True, False])
def test_evaluate_reports_false_alarms_where_there_are_photographs_without_clothes(bare, tiny_checkpoint, tmp_path):
    save_photo(tmp_path / "a.jpg")
    rows = [["a.jpg", "", "", "", ""]] if bare else [["a.jpg", *ROW]]
    options = {"image_folder": tmp_path, "df_path": write_csv(tmp_path, *rows), "json": tmp_path / "result.json"}
    options |= {"checkpoint_path": tiny_checkpoint, "device": "cpu"}
    result = run_here("evaluate.py", *flags_of(options))
    assert result.returncode == 0, result.stderr
    share = json.loads((tmp_path / "result.json").read_text())["false_alarm"]
    if bare:
        assert 0 <= share <= 1
        assert f"false alarms: {100 * share:.2f} % of the pixels of the 1 photographs" in result.stdout
    else:
        assert share is None
        assert "false alarm" not in result.stdout


# Photographs stored turned, and photographs of another size

TURNED = {3: (Image.Transpose.ROTATE_180,), 5: (Image.Transpose.TRANSPOSE,), 6: (Image.Transpose.ROTATE_90,),
          7: (Image.Transpose.TRANSVERSE,), 8: (Image.Transpose.ROTATE_270,)}  # fmt: skip


def save_turned(path: Path, shown: np.ndarray, orientation: int) -> None:
    """A photo that looks like ``shown`` when its EXIF rotation is applied."""
    stored = photo_of(shown).transpose(*TURNED[orientation])
    save_photo(path, np.asarray(stored.convert("L")) > 127, orientation)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_labels_drawn_on_the_turned_photo_are_told_by_their_size(orientation, tmp_path):
    save_turned(tmp_path / "shown.jpg", BOX, orientation)
    save_photo(tmp_path / "stored.jpg", BOX, orientation)  # labels of this one were drawn on what is stored
    table = read(write_csv(tmp_path, ["shown.jpg", *ROW], ["stored.jpg", *ROW]), tmp_path)
    assert not table.skipped.count
    assert table.upright.tolist() == [True, False]
    assert table.unsettled == 0
    assert_in_register(table)


def test_large_photographs_stored_turned_stay_in_register(tmp_path):
    mask = mask_of(100, 50, 700, 250, (1200, 400))
    save_turned(tmp_path / "a.jpg", mask, 6)
    assert_in_register(read(write_csv(tmp_path, ["a.jpg", encode_rle(mask), 1200, 400, 1]), tmp_path))


def test_rotations_that_the_size_does_not_settle_are_counted_and_labels_taken_as_stored(tmp_path):
    square = mask_of(3, 5, 20, 28, (30, 30))
    save_photo(tmp_path / "half.jpg", BOX, 3)
    save_photo(tmp_path / "mirrored.jpg", BOX, 2)
    save_photo(tmp_path / "square.jpg", square, 6)
    save_photo(tmp_path / "plain.jpg", BOX)
    save_photo(tmp_path / "bare.jpg", BOX, 3)
    df_path = write_csv(
        tmp_path,
        *([f"{name}.jpg", *ROW] for name in ("half", "mirrored", "plain")),
        ["square.jpg", encode_rle(square), 30, 30, 1],
        ["bare.jpg", "", HEIGHT, WIDTH, ""],  # nothing was drawn on it
    )
    table = read(df_path, tmp_path)
    assert table.unsettled == 3
    line = "3 photographs have an EXIF rotation that the table's size does not settle; labels are taken as drawn on "
    assert any(line in shown for shown in table.lines())
    result = run_here("-m", "data.audit", *flags_of({"image_folder": tmp_path, "df_path": df_path}))
    assert result.returncode == 0, result.stderr
    assert line in result.stdout


def test_broken_exif_is_no_rotation(tmp_path):
    photo_of(BOX).save(tmp_path / "a.jpg", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff", quality=95)
    table = read(write_csv(tmp_path, ["a.jpg", *ROW]), tmp_path)
    assert table.unsettled == 0
    assert_in_register(table)


@pytest.mark.parametrize("size", [(400, 300), (267, 200), (534, 401), (1600, 1200), (1066, 800)])
def test_labels_of_resized_copies_are_scaled(size, tmp_path):
    mask = mask_of(100, 150, 500, 400, (800, 600))
    photo_of(mask).resize(size[::-1]).save(tmp_path / "a.jpg", quality=95)
    table = read(write_csv(tmp_path, ["a.jpg", encode_rle(mask), 800, 600, 1]), tmp_path)
    assert not table.skipped.count
    assert_in_register(table)
    assert "1 photographs are of another size than their labels" in table.lines()[0]


def test_resized_copies_may_be_stored_turned(tmp_path):
    mask = mask_of(10, 60, 120, 180, (200, 400))
    small = np.asarray(photo_of(mask).resize((200, 100)).convert("L")) > 127
    save_turned(tmp_path / "a.jpg", small, 6)
    table = read(write_csv(tmp_path, ["a.jpg", encode_rle(mask), 200, 400, 1]), tmp_path)
    assert table.upright.tolist() == [True]
    assert_in_register(table)


@pytest.mark.parametrize("stated", [(600, 800), (640, 600), (2**20, 2**20), (0, 0)])
def test_a_photo_of_another_shape_is_skipped_with_both_sizes(stated, tmp_path):
    photo_of(mask_of(0, 0, 9, 9, (640, 640) if stated[0] == 2**20 else (640, 480))).save(tmp_path / "a.jpg")
    with pytest.raises(UserError) as error:
        read(write_csv(tmp_path, ["a.jpg", "1 2", *stated, 1]), tmp_path)
    photo = "640x640" if stated[0] == 2**20 else "480x640"
    assert f"row 1, a.jpg: the table says {stated[1]}x{stated[0]}, the photo has {photo}" in str(error.value)


def test_rows_of_one_photo_that_state_different_sizes_are_not_mixed(tmp_path):
    save_photo(tmp_path / "a.jpg")
    twice = np.kron(BOX, np.ones((2, 2), bool))
    table = read(write_csv(tmp_path, ["a.jpg", *ROW], ["a.jpg", encode_rle(twice), 80, 60, 6]), tmp_path)
    assert table.skipped.count == {"Height and Width that differ from an earlier row's": 1}
    assert table.label_map(0).max() == 1


# Tables as spreadsheets and pandas write them


def one_label(df_path: object, image_folder: Path) -> np.ndarray:
    table = read(df_path, image_folder)
    assert table.skipped.count == {}
    assert len(table) == 1
    assert_in_register(table)
    return table.label_map(0)


@pytest.mark.parametrize(
    "row",
    [
        ["a.jpg", ROW[0], 40.0, 30.0, "1.0"],
        ["a.jpg", ROW[0], "40,0", "30,00", "1,0"],
        ["a.jpg", ROW[0], "4E+01", "30.", "1."],
        [" a.jpg ", f"  {ROW[0]}" + " " * 5000, " 40 ", "30 " + " " * 3000, " 1 "],
        ["a.jpg", ROW[0], 40, 30, "1.0_93_101"],
        ["a.jpg", ROW[0], 40, 30, "1 _93"],
        ["a.jpg", ROW[0].replace(" ", "\t", 3).replace(" ", "\r\n", 3).replace(" ", "   ", 3), 40, 30, 1],
    ],
)
def test_numbers_are_understood_as_spreadsheets_and_pandas_write_them(row, tmp_path):
    save_photo(tmp_path / "a.jpg")
    assert np.array_equal(one_label(write_csv(tmp_path, row), tmp_path) == 1, BOX)


@pytest.mark.parametrize("category", ["1.5", "1.0.0", "-1", "one", "1e0", "٣"])
def test_a_category_that_is_not_a_whole_number_is_unknown(category, tmp_path):
    save_photo(tmp_path / "a.jpg")
    with pytest.raises(UserError, match="unknown ClassId"):
        read(write_csv(tmp_path, ["a.jpg", *ROW[:3], category]), tmp_path)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a.jpeg", "a"),
        ("a.JPG", "a"),
        ("a.png", "a"),
        ("A.JPG", "a.jpg"),
        ("a.png", "a.jpg"),
        ("2019.05.17.jpg", "2019.05.17"),
        ("look.v2.png", "look.v2"),
        ("look.v2.JPEG", "LOOK.V2.jpg"),
        ("deep/er/a.jpg", r"deep\er\a.jpg"),
        ("deep/a.jpeg", r".\deep\a"),
        ("a.jpg", "train/a.jpg"),
        ("a.jpg", r"C:\data\train\a.jpg"),
        ("a.jpg", "/home/me/train/a"),
        ("a.jpg", "../data/train/a.jpg"),
        ("train/a.jpg", "a.jpg"),
        ("cafe\u0301.jpg", "caf\u00e9"),
    ],
)
def test_photographs_are_found_however_their_names_are_written(file, name, tmp_path):
    save_photo(tmp_path / "photos" / file)
    one_label(write_csv(tmp_path, [name, *ROW]), tmp_path / "photos")


def test_a_name_that_two_photographs_could_have_is_a_fault(tmp_path):
    save_photo(tmp_path / "one/a.jpg")
    save_photo(tmp_path / "two/a.jpg")
    with pytest.raises(UserError, match="name of several photographs.*row 1, a: one/a.jpg and two/a.jpg"):
        read(write_csv(tmp_path, ["a", *ROW]), tmp_path)
    one_label(write_csv(tmp_path, ["x/two/a", *ROW]), tmp_path)


@pytest.mark.parametrize(
    "name", ["three/a.jpg", "../outside.jpg", "../table.csv", "b.jpg", "..", "/", "a" * 300, "a\0"]
)
def test_a_name_that_no_photo_has_is_missing(name, tmp_path):
    save_photo(tmp_path / "one/a.jpg")
    save_photo(tmp_path.parent / "outside.jpg")
    with pytest.raises(UserError, match="missing photo"):
        read(write_csv(tmp_path, [name, *ROW]), tmp_path)


def test_two_spellings_of_a_name_are_one_photo(tmp_path):
    save_photo(tmp_path / "a.jpg")
    rows = [["a", *ROW], ["A.JPG", encode_rle(mask_of(30, 0, 40, 30)), HEIGHT, WIDTH, 6]]
    table = read(write_csv(tmp_path, *rows), tmp_path)
    assert len(table) == 1
    assert np.unique(table.label_map(0)).tolist() == [0, 1, 2]


TABLE = f"ImageId,EncodedPixels,Height,Width,ClassId\na.jpg,{ROW[0]},40,30,1\n"


@pytest.mark.parametrize(
    "content",
    [
        TABLE.replace(",", ";"),
        TABLE.replace(",", "\t"),
        TABLE.replace(",", "|"),
        "sep=;\r\n" + TABLE.replace(",", ";"),
        "\n\n" + TABLE,
        TABLE.replace("\n", "\r\n"),
        TABLE.replace("\n", "\r"),
        TABLE + "\n\n,,,,\n , ,,,\n",
        TABLE.replace("ImageId", " imageID ").replace("Height", "HEIGHT").replace("ClassId", "class_id"),
        TABLE.replace("ImageId", ",ImageId").replace("a.jpg", "0,a.jpg"),  # pandas' index
        TABLE.replace("ImageId", "Unnamed: 0,ImageId").replace("a.jpg", "0,a.jpg"),
        '"' + TABLE.strip().replace(",", '","').replace("\n", '"\n"') + '"\n',
        TABLE.replace("ClassId", "ClassId,AttributesId,").replace(",1\n", ",1,,,,,\n"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_separators_headers_line_ends_and_encodings_are_recognised(content, encoding, tmp_path):
    save_photo(tmp_path / "a.jpg")
    (tmp_path / "table.csv").write_bytes(content.encode(encoding))
    assert np.array_equal(one_label(tmp_path / "table.csv", tmp_path) == 1, BOX)


def test_names_of_a_table_that_is_not_utf_8_are_found(tmp_path):
    save_photo(tmp_path / "Grün.jpg")
    (tmp_path / "table.csv").write_bytes(TABLE.replace("a.jpg", "Grün.jpg").encode("cp1252"))
    one_label(tmp_path / "table.csv", tmp_path)


def test_packed_tables_are_read_and_spreadsheets_named(tmp_path):
    save_photo(tmp_path / "a.jpg")
    with gzip.open(tmp_path / "table.csv.gz", "wt") as file:
        file.write(TABLE)
    one_label(tmp_path / "table.csv.gz", tmp_path)
    with zipfile.ZipFile(tmp_path / "table.csv.zip", "w") as archive:
        archive.writestr("train.csv", TABLE)
    one_label(tmp_path / "table.csv.zip", tmp_path)
    with zipfile.ZipFile(tmp_path / "table.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "")
    with pytest.raises(UserError, match="table.xlsx is a spreadsheet; save the label table as CSV"):
        read(tmp_path / "table.xlsx", tmp_path)


def test_missing_columns_are_named(tmp_path):
    save_photo(tmp_path / "a.jpg")
    (tmp_path / "table.csv").write_text("ImageId;Height;Width\na.jpg;40;30\n")
    with pytest.raises(UserError, match="its first line has no EncodedPixels, ClassId;"):
        read(tmp_path / "table.csv", tmp_path)


def test_one_bad_line_costs_one_row(tmp_path):
    save_photo(tmp_path / "a.jpg")
    (tmp_path / "table.csv").write_bytes(TABLE.encode() + b'\xff\xfe"x,1 2\na.jpg\na.jpg,1 2,40,30,1,7,8,9\n')
    table = read(tmp_path / "table.csv", tmp_path)
    assert table.skipped.count == {"row with too few cells": 2}
    assert table.skipped.first["row with too few cells"].startswith("row 2, ")
    assert len(table.class_of_row) == 2


# COCO files


def coco(*annotations: dict, images: list | None = None, categories: object = None) -> dict:
    """A COCO file of one photo, a.jpg; annotations have category 1 of it unless they say otherwise."""
    images = images or [{"id": 7, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}]
    common = {"image_id": 7, "category_id": 1, "iscrowd": 0}
    return {
        "images": images,
        "annotations": [common | {"id": i} | annotation for i, annotation in enumerate(annotations)],
        "categories": [{"id": 1, "name": "upper"}, {"id": 2, "name": "shoe"}] if categories is None else categories,
    }


def write_json(folder: Path, content: object) -> str:
    (folder / "labels.json").write_text(json.dumps(content))
    return str(folder / "labels.json")


def coco_counts(mask: np.ndarray) -> list[int]:
    flat = mask.T.ravel()
    edges = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), len(flat)]
    return ([0] if flat[0] else []) + np.diff(edges).tolist()


RECTANGLE = [6, 5, 20, 5, 20, 25, 6, 25]  # BOX
RLE = {"size": [HEIGHT, WIDTH], "counts": coco_counts(BOX)}


def test_uncompressed_run_lengths_are_read(tmp_path):
    save_photo(tmp_path / "a.jpg")
    masks = [BOX, mask_of(0, 0, 3, 4), mask_of(30, 25, HEIGHT, WIDTH), np.zeros_like(BOX), np.ones_like(BOX)]
    for mask in masks:
        rle = {"size": [HEIGHT, WIDTH], "counts": coco_counts(mask)}
        table = read(write_json(tmp_path, coco({"segmentation": rle, "iscrowd": 1})), tmp_path)
        assert np.array_equal(table.label_map(0) == 1, mask)
    assert_in_register(read(write_json(tmp_path, coco({"segmentation": RLE})), tmp_path))


def test_compressed_run_lengths_are_read_as_the_library_reads_them(tmp_path):
    library = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    save_photo(tmp_path / "a.jpg")
    for share in (0.0, 0.02, 0.5, 0.98, 1.0):
        mask = rng.random((HEIGHT, WIDTH)) < share
        counts = library.encode(np.asfortranarray(mask))["counts"].decode("ascii")
        segmentation = {"size": [HEIGHT, WIDTH], "counts": counts}
        table = read(write_json(tmp_path, coco({"segmentation": segmentation})), tmp_path)
        assert np.array_equal(table.label_map(0) == 1, mask)
    large = mask_of(100, 50, 3900, 2800, (4000, 3000))  # counts of many characters
    counts = library.encode(np.asfortranarray(large))["counts"].decode("ascii")
    runs = runs_of({"size": [4000, 3000], "counts": counts}, 4000, 3000)
    assert np.array_equal(rasterise(runs, 4000, 3000, (400, 300)), large[5::10, 5::10])


def test_polygons_are_read(tmp_path):
    pytest.importorskip("pycocotools")
    save_photo(tmp_path / "a.jpg")
    for segmentation in ([RECTANGLE], RECTANGLE, [RECTANGLE, [1, 1, 2, 2]], [RECTANGLE, [7, 6, 9, 6, 9, 9]]):
        table = read(write_json(tmp_path, coco({"segmentation": segmentation})), tmp_path)
        assert np.array_equal(table.label_map(0) == 1, BOX)
    over_the_rim = [[-5, -5, 50, -5, 50, 10, -5, 10]]
    table = read(write_json(tmp_path, coco({"segmentation": over_the_rim})), tmp_path)
    assert np.array_equal(table.label_map(0) == 1, mask_of(0, 0, 10, WIDTH))


@pytest.mark.parametrize(
    ("segmentation", "fault"),
    [
        ([[6, 5, 20, 5, float("nan"), 25]], "far outside"),
        ([[6, 5, 20, 5, float("inf"), 25]], "far outside"),
        ([[6, 5, 20, 5, 1e9, 25]], "far outside"),
        ([[6, 5, 20, 5, 10**400, 25]], "not a list of numbers"),
        ([[6, 5, 20, 25]], "fewer than three points"),
        ([[]], "fewer than three points"),
        ([[6, 5, 20, 5, 20, 25, 6]], "odd count"),
        ([["6", "5", "20", "5", "20", "25"]], "not a list of numbers"),
        ([[[6, 5], [20, 5], [20, 25]]], "not a list of numbers"),
        ([None], "not a list of numbers"),
        ([0, 0, WIDTH, HEIGHT, 0, HEIGHT] * 20_000, "outline"),
        (None, "without a segmentation"),
        ([], "without a segmentation"),
        ({}, "without a segmentation"),
        ("mask.png", "neither polygons nor run-lengths"),
        (RLE | {"counts": RLE["counts"][:-2]}, "do not make up the image"),
        (RLE | {"counts": [*RLE["counts"], 5]}, "do not make up the image"),
        (RLE | {"counts": [-5, 1205]}, "not numbers"),
        (RLE | {"counts": [1200.0]}, "not numbers"),
        (RLE | {"counts": [2**70]}, "do not make up the image"),
        (RLE | {"counts": None}, "not numbers"),
        (RLE | {"size": [WIDTH, HEIGHT]}, "another size"),
        (RLE | {"counts": "Y12"}, "do not make up the image"),
        (RLE | {"counts": ""}, "cannot be unpacked"),
        (RLE | {"counts": "Y12V1P"}, "cannot be unpacked"),
        (RLE | {"counts": "~~~~"}, "cannot be unpacked"),
        (RLE | {"counts": "ünï"}, "cannot be unpacked"),
        (RLE | {"counts": "oooooooooooooooo1"}, "cannot be unpacked"),
    ],
)
def test_each_bad_annotation_is_skipped_by_its_kind_before_it_reaches_the_library(segmentation, fault, tmp_path):
    save_photo(tmp_path / "a.jpg")
    file = write_json(tmp_path, coco({"segmentation": RLE}, {"segmentation": segmentation}))
    table = read(file, tmp_path)
    (kind,) = table.skipped.count
    assert fault in kind
    assert table.skipped.first[kind] == "annotation 2, a.jpg"
    assert np.array_equal(table.label_map(0) == 1, BOX)


def test_annotations_are_checked_for_their_image_and_category(tmp_path):
    save_photo(tmp_path / "a.jpg")
    images = [
        {"id": 7, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH},
        {"id": 8, "file_name": "gone.jpg"},
        {"id": 9},
        "image",
    ]
    odd = [{"image_id": 8}, {"image_id": 99}, {"image_id": [1]}, {"category_id": 5}, {"category_id": "1"}]
    content = coco({"segmentation": RLE}, *({"segmentation": RLE} | one for one in odd), images=images)
    content["annotations"].append(None)
    table = read(write_json(tmp_path, content), tmp_path)
    assert table.skipped.count == {
        "unknown category_id": 2,
        "missing photo": 1,
        "image without id and file_name": 2,
        "annotation without an image in the file": 3,
    }
    assert len(table.class_of_row) == 1


def test_images_without_annotations_have_no_clothes_and_are_counted(tmp_path):
    for name in "abc":
        save_photo(tmp_path / f"{name}.jpg")
    images = [{"id": i, "file_name": f"{name}.jpg", "height": HEIGHT, "width": WIDTH} for i, name in enumerate("abc")]
    bad = {"image_id": 2, "segmentation": []}  # clothes, but nobody knows where
    content = coco({"image_id": 0, "segmentation": RLE}, bad, images=images)
    table = read(write_json(tmp_path, content), tmp_path)
    assert [path.name for path in table.files] == ["a.jpg", "b.jpg"]
    assert not table.label_map(1).any()
    assert "1 photographs have no annotations and are taken as without clothes" in table.lines()


def test_coco_files_of_resized_and_turned_photographs_fit(tmp_path):
    save_turned(tmp_path / "shown.jpg", BOX, 6)
    photo_of(BOX).resize((60, 80)).save(tmp_path / "large.jpg", quality=95)
    save_photo(tmp_path / "sizeless.jpg")
    images = [
        {"id": 0, "file_name": "shown.jpg", "height": HEIGHT, "width": WIDTH},
        {"id": 1, "file_name": r"images\large.JPG", "height": float(HEIGHT), "width": float(WIDTH)},
        {"id": 2, "file_name": "../../upload/1/sizeless.jpg"},
    ]
    content = coco(*({"image_id": i, "segmentation": RLE} for i in range(3)), images=images)
    table = read(write_json(tmp_path, content), tmp_path)
    assert len(table) == 3
    assert_in_register(table)


def values_by_name(categories: list, classes: ClassTable, folder: Path) -> dict[str, int]:
    save_photo(folder / "a.jpg")
    annotation = {"segmentation": RLE, "category_id": categories[0]["id"]}
    table = read(write_json(folder, coco(annotation, categories=categories)), folder, classes)
    return dict(table.categories.values())


def named(*names: str, first: int = 0) -> list[dict]:
    return [{"id": number, "name": name} for number, name in enumerate(names, first)]


def test_the_default_classes_go_by_names_whatever_the_ids(tmp_path):
    names = ("shoe", "shirt, blouse", "Pants", "T-Shirt", "dress", "person")
    expected = dict(zip(names, (0, 1, 2, 1, 3, 0), strict=True))
    for first in (0, 1, 40):
        assert values_by_name(named(*names, first=first), CLOTHES, tmp_path) == expected
    own = values_by_name(named("background", "Full", "LOWER", "upper"), CLOTHES, tmp_path)
    assert own == {"background": 0, "Full": 3, "LOWER": 2, "upper": 1}
    nameless = [{"id": i} for i in (0, 6, 10, 23)]
    table = read(write_json(tmp_path, coco({"segmentation": RLE, "category_id": 6}, categories=nameless)), tmp_path)
    assert table.label_map(0).max() == 2
    assert "have no names: their ids are taken as iMaterialist's" in table.lines()[0]


def test_class_maps_take_ids_and_names_of_a_coco_file(tmp_path):
    (tmp_path / "map.yml").write_text("dirndl: [dirndl dress, 12]\nshoes: [SHOE_left]\nhats: [hat]")
    classes = load_class_table(str(tmp_path / "map.yml"))
    categories = [*named("Dirndl-Dress", "shoe left", "apron", first=10), *named("cap", first=3)]
    assert values_by_name(categories, classes, tmp_path) == {"Dirndl-Dress": 1, "shoe left": 2, "apron": 1, "cap": 0}


def test_what_was_mapped_is_said(tmp_path):
    save_photo(tmp_path / "a.jpg")
    categories = named("trousers", "dress", "shoe", first=3)
    file = write_json(tmp_path, coco({"segmentation": RLE, "category_id": 4}, categories=categories))
    said = read(file, tmp_path).lines()
    assert said == [
        "background: trousers (3), shoe (5)",
        "upper: no category",
        "lower: no category",
        "full: dress (4)",
    ]


def test_names_in_a_class_map_serve_tables_too(tmp_path):
    save_photo(tmp_path / "a.jpg")
    (tmp_path / "map.yml").write_text('tops: ["top, t-shirt, sweatshirt"]\nbags: [bag]')
    df_path = write_csv(tmp_path, ["a.jpg", *ROW])
    assert read(df_path, tmp_path, load_class_table(str(tmp_path / "map.yml"))).label_map(0).max() == 1
    with pytest.raises(UserError, match="names the category dirndl, which iMaterialist does not have"):
        read(df_path, tmp_path, ClassTable(("dirndl",), (("dirndl",),)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not valid JSON"),
        ("{" * 10, "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("9" * 10_000, "not valid JSON"),
        ("[]", "not a COCO file"),
        ('{"shapes": [], "imagePath": "a.jpg"}', "not a COCO file"),
        ('{"images": {}, "annotations": []}', "not a COCO file"),
        (json.dumps(coco(categories=["upper"])), "categories needs a whole number"),
        (json.dumps(coco(categories=[{"id": "1", "name": "upper"}])), "categories needs a whole number"),
        (json.dumps(coco(categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}])), "two categories with the id 1"),
        (json.dumps(coco(categories=named("person", "dog"))), "(person, dog) makes one of the classes upper, lower"),
        (json.dumps(coco(images=[{"id": 1, "file_name": "none.jpg"}])), "nothing usable.*missing photo"),
    ],
)
def test_json_that_cannot_be_used_is_one_line(content, words, tmp_path):
    save_photo(tmp_path / "a.jpg")
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(UserError) as error:
        read(tmp_path / "labels.json", tmp_path)
    assert all(word in str(error.value) for word in words.split(".*"))
    assert "\n" not in str(error.value)


def test_images_that_share_an_id_are_refused(tmp_path):
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 7, "file_name": "b.jpg"}]
    save_photo(tmp_path / "a.jpg")
    with pytest.raises(UserError, match="the images a.jpg and b.jpg have the same id, 7"):
        read(write_json(tmp_path, coco({"segmentation": RLE}, images=images)), tmp_path)


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    save_photo(tmp_path / "a.jpg")
    with pytest.raises(UserError, match="pip install"):
        read(write_json(tmp_path, coco({"segmentation": [RECTANGLE]})), tmp_path)
    read(write_json(tmp_path, coco({"segmentation": RLE})), tmp_path)


# Folders of label maps

LABEL = np.where(BOX, 1, 0).astype(np.uint8)
LABEL[30:36, 8:20] = 2


def save_map(path: Path, label: np.ndarray = LABEL, mode: str = "L", **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(label.astype(np.uint16 if mode == "I;16" else np.uint8))
    if mode == "P":
        image.putpalette(PALETTE.tobytes())
    image.save(path, **options)


def test_grey_and_palette_maps_of_any_depth_are_read(tmp_path):
    maps = tmp_path / "maps"
    for name in ("grey", "palette", "deep", "two_bits"):
        save_photo(tmp_path / f"photos/{name}.jpg", LABEL > 0)
    save_map(maps / "grey.png")
    save_map(maps / "palette.png", mode="P")
    save_map(maps / "deep.png", mode="I;16")
    cv2.imwrite(str(maps / "two_bits.png"), LABEL)
    save_map(maps / "two_bits.png", mode="P", bits=2)
    table = read(maps, tmp_path / "photos")
    assert len(table) == 4
    for index in range(4):
        assert np.array_equal(table.label_map(index), LABEL)
    assert_in_register(table)


@pytest.mark.parametrize(("bits", "values"), [(1, 2), (2, 4), (4, 4)])
def test_grey_maps_of_few_bits_keep_their_values(bits, values, tmp_path):
    label = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH) % values
    save_photo(tmp_path / "photos/a.jpg")
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps/a.png").write_bytes(grey_png(label, bits))
    assert np.array_equal(read(tmp_path / "maps", tmp_path / "photos").label_map(0), label)


def grey_png(label: np.ndarray, bits: int) -> bytes:
    """A greyscale PNG of less than 8 bits, which Pillow does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    single = np.unpackbits(label[..., None], axis=2)[:, :, 8 - bits :].reshape(len(label), -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in single)
    header = struct.pack(">IIBBBBB", label.shape[1], label.shape[0], bits, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


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


def test_values_that_no_class_has_are_named(tmp_path):
    save_photo(tmp_path / "photos/a.jpg")
    save_map(tmp_path / "maps/a.png", LABEL * 7)
    with pytest.raises(UserError, match="a.png has the value 7, but there are 4 classes, 0 to 3: background, upper"):
        read(tmp_path / "maps", tmp_path / "photos")
    save_map(tmp_path / "maps/a.png", (LABEL > 0) * 255)
    with pytest.raises(UserError, match="hold only 0 and 255, and 255 stands for unknown"):
        read(tmp_path / "maps", tmp_path / "photos")
    with pytest.raises(UserError, match="there are no label maps"):
        read(tmp_path / "photos", tmp_path / "photos")


def test_max_dataset_size_reads_no_further(tmp_path):
    for name in "abcd":
        save_photo(tmp_path / f"photos/{name}.jpg", LABEL > 0)
        save_map(tmp_path / f"maps/{name}.png")
    assert [path.name for path in read(tmp_path / "maps", tmp_path / "photos", max_photos=2).files] == [
        "a.jpg",
        "b.jpg",
    ]
    images = [{"id": i, "file_name": f"{name}.jpg"} for i, name in enumerate("abcd")]
    content = coco(*({"image_id": i, "segmentation": RLE} for i in range(4)), images=images)
    assert len(read(write_json(tmp_path, content), tmp_path / "photos", max_photos=2)) == 2


# The programs


@pytest.fixture(scope="module")
def three_forms(tmp_path_factory) -> tuple[Path, list[str]]:
    """Photographs, and their labels as table, as COCO file and as folder of label maps."""
    folder = tmp_path_factory.mktemp("forms")
    rows, images, annotations = [], [], []
    for i in range(3):
        mask = mask_of(4 + i, 5, 20 + i, 25)
        save_photo(folder / f"photos/{i}.jpg", mask)
        save_map(folder / f"maps/{i}.png", mask * 1)
        rows.append([f"{i}.jpg", encode_rle(mask), HEIGHT, WIDTH, 0])
        images.append({"id": i, "file_name": f"{i}.jpg", "height": HEIGHT, "width": WIDTH})
        annotations.append({"image_id": i, "segmentation": RLE | {"counts": coco_counts(mask)}})
    file = write_json(folder, coco(*annotations, images=images))
    return folder / "photos", [write_csv(folder, *rows), file, str(folder / "maps")]


def test_evaluate_and_audit_say_the_same_of_all_forms(three_forms, tiny_checkpoint, tmp_path):
    photos, forms = three_forms
    figures, classes = [], []
    for df_path in forms:
        options = {"image_folder": photos, "df_path": df_path}
        also = {"checkpoint_path": tiny_checkpoint, "device": "cpu", "json": tmp_path / "figures.json"}
        result = run_here("evaluate.py", *flags_of(options | also))
        assert result.returncode == 0, result.stderr
        figures.append(json.loads((tmp_path / "figures.json").read_text()))
        result = run_here("-m", "data.audit", *flags_of(options | {"report_dir": tmp_path / "report"}))
        assert result.returncode == 0, result.stderr
        classes.append(result.stdout[result.stdout.index("masks") : result.stdout.index("duplicate")])
    assert figures[0] == figures[1] == figures[2]
    assert classes[0] == classes[1] == classes[2]


def test_training_gives_the_same_weights_from_all_forms(three_forms, tmp_path):
    photos, forms = three_forms
    weights = []
    for i, df_path in enumerate(forms):
        flags = training_flags(DataSet(photos, Path(df_path)), tmp_path / str(i), iter=1, val_df_path=df_path,
                               val_image_folder=photos, fine_width=32, fine_height=32)  # fmt: skip
        result = run_here("train.py", *flags)
        assert result.returncode == 0, result.stderr
        weights.append(torch.load(tmp_path / str(i) / "latest.pth", weights_only=False)["network"])
    assert all(torch.equal(weights[0][key], other[key]) for other in weights[1:] for key in weights[0])


# Whatever the bytes


def zipped(name: str, content: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def as_compressed(content: bytes) -> str:
    """Text of the characters that compressed run-lengths have."""
    return "".join(chr(48 + byte % 64) for byte in content)


def damaged(content: bytes, at: int, other: bytes) -> bytes:
    return content[:at] + other + content[at + len(other) :]


PACKED = [gzip.compress(TABLE.encode()), bz2.compress(TABLE.encode()), zipped("train.csv", TABLE)]
SMALL_MAP = grey_png(LABEL, 4)
fuzzed = hypothesis.settings(
    max_examples=150, deadline=20_000, suppress_health_check=list(hypothesis.HealthCheck), database=None
)
CELL = st.one_of(
    st.sampled_from(["a.jpg", "a", "..", "", "nan", "1", "1.0", "40", "30", "1 2", ROW[0], "6_1", "1e400", "9" * 30]),
    st.text(max_size=8),
    st.integers().map(str),
)
NUMBER = st.one_of(
    st.integers(-50, 100), st.floats(), st.sampled_from([10**400, 2**31, 2**63, 1e9, -1e300]), st.none(), st.text()
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBER, st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=8,
)
SEGMENTATION = st.one_of(
    JSON,
    st.lists(st.lists(NUMBER, max_size=9), max_size=3),
    st.lists(st.lists(st.floats(-60, 90), min_size=3, max_size=8).map(lambda half: half + half), max_size=3),
    st.fixed_dictionaries({"size": st.just([HEIGHT, WIDTH]), "counts": st.lists(NUMBER, max_size=6)}),
    st.fixed_dictionaries({"size": st.just([HEIGHT, WIDTH]), "counts": st.text(max_size=9)}),
    st.fixed_dictionaries({"size": st.just([HEIGHT, WIDTH]), "counts": st.binary(max_size=9).map(as_compressed)}),
)


@pytest.fixture(scope="module")
def one_photo(tmp_path_factory) -> Path:
    return save_photo(tmp_path_factory.mktemp("fuzz") / "photos/a.jpg").parent


def assert_table_or_user_error(df_path: Path, photos: Path) -> None:
    """The labels can be used to the end, or there is one line that says why not."""
    try:
        table = read(df_path, photos)
    except UserError as error:
        assert str(error)
        return
    table.lines()
    for index in range(len(table)):
        label = table.label_map(index)
        assert label.shape == table.size(index)
        assert set(np.unique(label).tolist()) <= {0, 1, 2, 3, UNKNOWN}
    assert bool((table.runs >= 0).all())
    assert bool((table.runs[:, 0] <= table.runs[:, 1]).all())
    assert bool((table.runs <= MOST_PIXELS).all())


@fuzzed
@hypothesis.given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=60).map(lambda tail: TABLE.encode() + tail),
        st.lists(st.lists(CELL, max_size=7), max_size=6).map(
            lambda rows: (TABLE + "\n".join(",".join(row) for row in rows)).encode("utf-8", "replace")
        ),
        st.builds(damaged, st.sampled_from(PACKED), st.integers(0, 250), st.binary(max_size=4)),
    )
)
def test_whatever_the_bytes_a_table_is_read_or_refused(one_photo, content):
    df_path = one_photo.parent / "table.csv"
    df_path.write_bytes(content)
    assert_table_or_user_error(df_path, one_photo)


def odd_coco(height: object, width: object, image_id: object, category_id: object, name: object) -> bytes:
    """A COCO file of a sound image and annotation, and of an odd one of each."""
    images = [
        {"id": 7, "file_name": "a.jpg", "height": height, "width": width},
        {"id": image_id, "file_name": name},
    ]
    odd = {"image_id": image_id, "category_id": category_id, "segmentation": RLE}
    return json.dumps(coco({"segmentation": RLE}, odd, images=images)).encode()


@fuzzed
@hypothesis.given(
    st.one_of(
        st.binary(max_size=100),
        JSON.map(lambda content: json.dumps(content).encode()),
        st.lists(SEGMENTATION, max_size=4).map(
            lambda all_: json.dumps(coco(*({"segmentation": one} for one in all_))).encode()
        ),
        st.fixed_dictionaries({"images": st.lists(JSON), "annotations": st.lists(JSON), "categories": JSON}).map(
            lambda content: json.dumps(content).encode()
        ),
        st.builds(odd_coco, NUMBER, NUMBER, JSON, JSON, JSON),
    )
)
def test_whatever_the_bytes_a_coco_file_is_read_or_refused(one_photo, content):
    pytest.importorskip("pycocotools")
    df_path = one_photo.parent / "labels.json"
    df_path.write_bytes(content)
    assert_table_or_user_error(df_path, one_photo)


@fuzzed
@hypothesis.given(
    st.one_of(
        st.binary(max_size=100),
        st.builds(damaged, st.just(SMALL_MAP), st.integers(8, 120), st.binary(min_size=1, max_size=3)),
        st.integers(0, 120).map(lambda end: SMALL_MAP[:end]),
        st.tuples(st.integers(1, 45), st.integers(1, 45), st.sampled_from([1, 2, 4]), st.integers(0, 255)).map(
            lambda t: grey_png(np.full(t[:2], t[3] % 2 ** t[2], np.uint8), t[2])
        ),
    )
)
def test_whatever_the_bytes_a_label_map_is_read_or_refused(one_photo, content):
    df_path = one_photo.parent / "maps"
    df_path.mkdir(exist_ok=True)
    (df_path / "a.png").write_bytes(content)
    assert_table_or_user_error(df_path, one_photo)
