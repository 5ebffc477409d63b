"""The CSV of iMaterialist: its two editions are read, every fault is counted, and no text breaks the reader."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from data.classes import CLOTHES
from data.labels.imaterialist import COLUMNS, SEPARATORS, read_table
from data.labels.rle import encode_rle
from data.labels.table import LabelTable
from options.train_options import TrainOptions
from utils.errors import UserError


def write_table(folder: Path, rows: list, header: list = COLUMNS, photos: tuple = ("a.jpg",)) -> tuple[str, str]:
    """A folder of grey 40 x 30 (height x width) photographs and a table; returns (df_path, image_folder)."""
    folder.mkdir(exist_ok=True, parents=True)
    for name in photos:
        Image.new("RGB", (30, 40), "grey").save(folder / name)
    with (folder / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(folder / "table.csv"), str(folder)


def read(folder: Path, rows: list, *more) -> LabelTable:
    return read_table(*write_table(folder, rows, *more), CLOTHES)


def box(top: int, left: int, bottom: int, right: int) -> str:
    mask = np.zeros((40, 30), bool)
    mask[top:bottom, left:right] = True
    return encode_rle(mask)


ALL = box(0, 0, 40, 30)


@pytest.mark.parametrize("order", [(0, 6, 10), (10, 6, 0), (6, 10, 0)])
def test_upper_wins_over_lower_over_full_whatever_the_row_order(order, tmp_path):
    boxes = {0: box(0, 0, 10, 30), 6: box(5, 0, 20, 30), 10: ALL}
    table = read(tmp_path, [["a.jpg", boxes[category], 40, 30, category] for category in order])
    assert table.label_map(0)[:, 0].tolist() == [1] * 10 + [2] * 10 + [3] * 20


def test_attributes_columns_order_and_2020_ids_are_understood(tmp_path):
    header = ["AttributesIds", "Width", "ClassId", "ImageId", "EncodedPixels", "Height"]
    rows = [["1,2", 30, "10_93_101", "a.jpg", ALL, 40], ["", "30.0", "6", "b", ALL, "40.0"]]
    table = read(tmp_path, rows, header, ("a.jpg", "b.jpg"))
    assert not table.skipped.count
    assert [table.label_map(i, (1, 1)).item() for i in range(2)] == [3, 2]
    assert [path.name for path in table.files] == ["a.jpg", "b.jpg"]


def test_every_kind_of_bad_row_is_counted_with_its_first_and_skipped(tmp_path):
    faults = {
        "empty cell": [["a.jpg", "1 2", "", 30, 0], ["", "1 2", 40, 30, 0]],
        "unknown ClassId": [["a.jpg", "1 2", 40, 30, 46], ["a.jpg", "1 2", 40, 30, "x"]],
        "Height or Width that is not a number": [["a.jpg", "1 2", "tall", 30, 0]],
        "missing photo": [["none.jpg", "1 2", 40, 30, 0], ["../table.csv", "1 2", 40, 30, 0]],
        "photo that cannot be read": [["broken.jpg", "1 2", 40, 30, 0]],
        "Height and Width that disagree with the photo": [["a.jpg", "1 2", 30, 40, 0]],
        "run-lengths that are not digits": [["a.jpg", "1 two", 40, 30, 0], ["a.jpg", "1 -2", 40, 30, 0]],
        "an odd count of run-lengths": [["a.jpg", "1 2 3", 40, 30, 0]],
        "run-lengths that leave the image": [["a.jpg", "1200 2", 40, 30, 0], ["a.jpg", "0 1", 40, 30, 33]],
    }
    (tmp_path / "broken.jpg").write_text("no image")
    table = read(tmp_path, [["a.jpg", ALL, 40, 30, 0], *(row for bad in faults.values() for row in bad)])
    assert table.skipped.count == {kind: len(bad) for kind, bad in faults.items()}
    number = 2
    for kind, bad in faults.items():
        assert table.skipped.first[kind].startswith(f"row {number}, ")
        number += len(bad)
    assert len(table) == len(table.class_of_row) == 1


def test_rows_with_absurd_names_and_numbers_are_counted_and_the_others_used(tmp_path):
    rows = [["a.jpg", "1 5", 40, 30, 1], ["x" * 3000, "1 5", 40, 30, 1], ["../elsewhere/b.jpg", "1 5", 40, 30, 1]]
    rows += [["a.jpg", "1 5", 40, 30, category] for category in ("00000000099", "9" * 5000, "1.5", "-1", "²", "_1")]
    rows += [["a.jpg", "1 5", height, 30, 1] for height in ("inf", "1e999", "nan?", "-40", "40.9e9")]
    table = read(tmp_path, rows)
    assert (len(table), len(table.class_of_row)) == (1, 1)
    assert table.skipped.count == {
        "missing photo": 2,
        "unknown ClassId": 6,
        "Height or Width that is not a number": 3,
        "Height and Width that disagree with the photo": 2,
    }


def test_a_photo_with_background_rows_alone_is_background(tmp_path):
    table = read(tmp_path, [["a.jpg", ALL, 40, 30, 23]])
    assert len(table) == 1
    assert not table.label_map(0).any()


def test_nothing_usable_is_an_error(tmp_path):
    with pytest.raises(UserError, match="nothing usable.*missing photo"):
        read(tmp_path, [["none.jpg", ALL, 40, 30, 0]])


def test_where_the_data_set_is_is_said_where_the_data_set_is_missing(tmp_path):
    df_path, folder = write_table(tmp_path, [])
    with pytest.raises(UserError, match="no folder of photographs at .*kaggle.com"):
        read_table(df_path, str(tmp_path / "imaterialist/train"), CLOTHES)
    with pytest.raises(UserError, match="no label table at .*kaggle.com"):
        read_table(str(tmp_path / "imaterialist/train.csv"), folder, CLOTHES)


def test_missing_folder_table_and_columns_are_one_line(tmp_path):
    df_path, folder = write_table(tmp_path, [], COLUMNS[:-1])
    with pytest.raises(UserError, match="ClassId"):
        read_table(df_path, folder, CLOTHES)
    with pytest.raises(UserError, match="no folder of photographs at .*none$"):
        read_table(df_path, str(tmp_path / "none"), CLOTHES)
    with pytest.raises(UserError, match="no label table at .*none.csv$"):
        read_table(str(tmp_path / "none.csv"), folder, CLOTHES)
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)) * 10)
    with pytest.raises(UserError) as error:
        read_table(str(tmp_path / "binary.csv"), folder, CLOTHES)
    assert "\n" not in str(error.value)


def test_the_real_set_is_read_whole(ccp_train, ccp_val):
    for data, photos in ((ccp_train, 783), (ccp_val, 110)):
        table = read_table(str(data.df_path), str(data.image_folder), CLOTHES)
        assert (len(table), table.lines()) == (photos, [])
        label = table.label_map(0)
        assert label.shape == table.size(0)
        assert 0.02 < (label > 0).mean() < 0.8


def test_max_dataset_size_takes_the_first_photos(dolls):
    table = read_table(str(dolls.df_path), str(dolls.image_folder), CLOTHES, max_photos=3)
    assert [path.name for path in table.files] == ["doll000.jpg", "doll001.jpg", "doll002.jpg"]


@pytest.mark.parametrize("written", ["../shots/train", "../shots/train/", "./../shots/../shots/train", "../elsewhere"])
def test_a_relative_image_folder_above_the_repository_is_searched(tmp_path, monkeypatch, written):
    """As the default ../imaterialist/train/ is."""
    df_path, folder = write_table(tmp_path / "shots" / "train", [["a.jpg", "1 5", 40, 30, 1]])
    (tmp_path / "elsewhere").symlink_to(folder)
    (tmp_path / "repository").mkdir()
    monkeypatch.chdir(tmp_path / "repository")
    table = read_table(df_path, written, CLOTHES)
    assert (len(table), table.skipped.count) == (1, {})
    assert table.files[0].is_file()


def test_the_default_image_folder_is_relative_to_the_parent_folder():
    assert ".." in Path(TrainOptions().image_folder).parts


# Any text


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory) -> tuple[str, str]:
    return write_table(tmp_path_factory.mktemp("fuzzed"), [])


def read_or_refuse(content: bytes, fuzzed: tuple[str, str]) -> LabelTable | None:
    """The table of a file with this content, which must be usable in every photo; None where it is refused."""
    Path(fuzzed[0]).write_bytes(content)
    try:
        table = read_table(*fuzzed, CLOTHES)
    except UserError as error:
        assert "\n" not in str(error)
        return None
    for photo in range(len(table)):
        assert table.label_map(photo).max() <= 3
    return table


FUZZ = settings(max_examples=60, deadline=None, database=None)
CELL = st.one_of(
    st.sampled_from(["a.jpg", "A", "", "nan", "40", "30", "40.0", "1e9", "0", "6.0", "10_3", ALL, "1 2", "1 2 3"]),
    st.text(max_size=12),
)


@FUZZ
@given(st.binary(max_size=300))
@example(b"\xff\xfe")
@example(b"\x1f\x8b\x08")
@example(b"PK\x03\x04")
@example(b"BZh9")
@example(b'"')
@example(b"\xef\xbb\xbf")
def test_any_bytes_are_read_or_refused_in_one_line(fuzzed, content):
    assert read_or_refuse(content, fuzzed) is None


@FUZZ
@given(st.binary(max_size=200), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), st.sampled_from(SEPARATORS))
def test_any_bytes_below_a_header_are_read_or_refused_in_one_line(fuzzed, content, encoding, separator):
    read_or_refuse(separator.join(COLUMNS).encode(encoding) + "\n".encode(encoding) + content, fuzzed)


@FUZZ
@given(st.lists(st.lists(CELL, min_size=4, max_size=6), max_size=5), st.sampled_from(SEPARATORS))
def test_any_rows_are_used_or_counted(fuzzed, rows, separator):
    with Path(fuzzed[0]).open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
        csv.writer(file, delimiter=separator).writerows([COLUMNS, *rows, ["a.jpg", ALL, 40, 30, 0]])
    table = read_or_refuse(Path(fuzzed[0]).read_bytes(), fuzzed)
    assert table is not None and Path(fuzzed[1], "a.jpg") in table.files
