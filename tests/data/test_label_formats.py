"""Labels as people have them: tables of spreadsheets, resized and turned photographs, COCO files, label maps."""

import csv
import gzip
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.classes import CLOTHES, ClassTable
from data.label_table import LabelTable
from data.labels import read_labels
from data.photos import EvaluationPhotos, TrainingPhotos
from data.rle import encode_rle
from data.sampler import Draw
from data.transforms import TrainTransform
from tests.helpers import flags_of, run_here
from utils.errors import UserError
from utils.evaluation import Evaluation
from utils.metrics import ConfusionMatrix

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
    training = TrainingPhotos(table, TrainTransform((64, 48), 0.5, 0.5, "none", 1.0, 0.0), 4)
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
    samples = TrainingPhotos(table, TrainTransform((32, 32), 0.5, 0.5, "none", 1.0, 0.0), 4)
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
    assert len(table.class_of_row) == 2
