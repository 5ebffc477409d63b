"""The CSV of iMaterialist: its editions and spellings are read, every fault is counted, no text breaks the reader."""

import gzip
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data.classes import load_class_table
from data.labels import csv_rows
from data.labels.csv_rows import SEPARATORS
from data.labels.imaterialist import COLUMNS
from data.labels.table import LabelTable
from tests.data.labels.drawn import BOX, HEIGHT, ROW, WIDTH, assert_usable, read, save_photo, write_csv
from utils.errors import UserError

RLE = ROW[0]
TABLE = f"{','.join(COLUMNS)}\na.jpg,{RLE},40,30,1\n"
PACKED = gzip.compress(TABLE.encode())


def assert_box(table: LabelTable, value: int = 1) -> None:
    """All rows are used, and together they are the box."""
    assert table.skipped.count == {}
    assert np.array_equal(table.label_map(0), BOX * value)


def test_the_2020_edition_is_read(folder):
    save_photo(folder / "b.jpg")
    header = ["AttributesIds", "Width", "ClassId", "ImageId", "EncodedPixels", "Height"]
    rows = [["1,2", 30, "10_93_101", "a.jpg", RLE, 40], ["", "30.0", "6", "b", RLE, "40.0"]]
    table = read(write_csv(folder, *rows, header=header), folder)
    assert_box(table, 3)
    assert np.array_equal(table.label_map(1), BOX * 2)


@pytest.mark.parametrize("row", [
    ["a.jpg", RLE, "4E+01", "30,00", "1,0"], [" a.jpg ", f"  {RLE}  ", " 40 ", "30. ", " 1. "],
    ["a.jpg", RLE, 40, 30, "1.0_93_101"], ["a.jpg", RLE.replace(" ", "\t", 3).replace(" ", "\r\n", 3), 40, 30, "1 _93"],
])  # fmt: skip
def test_numbers_are_understood_as_spreadsheets_and_pandas_write_them(row, folder):
    assert_box(read(write_csv(folder, row), folder))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("content", [
    *(TABLE.replace(",", separator) for separator in SEPARATORS), "\n\n" + TABLE + "\n\n,,,,\n , ,,,\n",
    "sep=;\r\n" + TABLE.replace(",", ";"), TABLE.replace("\n", "\r\n"), TABLE.replace("\n", "\r"),
    TABLE.replace("ImageId", " imageID ").replace("Height", "HEIGHT").replace("ClassId", "class_id"),
    TABLE.replace("ImageId", ",ImageId").replace("a.jpg", "0,a.jpg"),  # pandas' index
    '"' + TABLE.strip().replace(",", '","').replace("\n", '"\n"') + '"\n',
    TABLE.replace("ClassId", "ClassId,AttributesId,").replace(",1\n", ",1,,,,,\n"),
])  # fmt: skip
def test_separators_headers_line_ends_and_encodings_are_recognised(content, encoding, folder):
    (folder / "table.csv").write_bytes(content.encode(encoding))
    assert_box(read(folder / "table.csv", folder))


def test_every_kind_of_bad_row_is_counted_with_its_first_and_skipped(folder):
    faults = {
        "empty cell": [["a.jpg", "1 2", "", 30, 0], ["", "1 2", 40, 30, 0]],
        "unknown ClassId": [["a.jpg", "1 2", 40, 30, x] for x in (
            46, "x", "1.5", "1.0.0", "-1", "1e0", "٣", "²", "_1", "00000000099", "9" * 5000)],
        "Height or Width that is not a number": [
            ["a.jpg", "1 2", height, 30, 0] for height in ("tall", "inf", "nan?")],
        "missing photo": [[name, "1 2", 40, 30, 0] for name in ("none.jpg", "../table.csv")],
        "photo that cannot be read": [["broken.jpg", "1 2", 40, 30, 0]],
        "Height and Width that disagree with the photo": [
            ["a.jpg", "1 2", *size, 0] for size in ((30, 40), (-40, 30), ("40.9e9", 30))],
        "run-lengths that are not digits": [["a.jpg", "1 two", 40, 30, 0], ["a.jpg", "1 -2", 40, 30, 0]],
        "an odd count of run-lengths": [["a.jpg", "1 2 3", 40, 30, 0]],
        "run-lengths that leave the image": [["a.jpg", "1200 2", 40, 30, 0], ["a.jpg", "0 1", 40, 30, 33]],
        "row with too few cells": [["a.jpg", "1 2"], ["a.jpg"]],
    }  # fmt: skip
    (folder / "broken.jpg").write_text("no image")
    table = read(write_csv(folder, ["a.jpg", *ROW], *(row for bad in faults.values() for row in bad)), folder)
    assert table.skipped.count == {kind: len(bad) for kind, bad in faults.items()}
    number = 2
    for kind, bad in faults.items():
        assert table.skipped.first[kind].startswith(f"row {number}, ")
        number += len(bad)
    assert np.array_equal(table.label_map(0), BOX)
    for kind, value in {"unknown ClassId": "'46'", "Height or Width that is not a number": "'tall'",
                        "run-lengths that are not digits": "'1 two'",
                        "run-lengths that leave the image": "1200 2 of 1200 pixels"}.items():  # fmt: skip
        assert table.skipped.first[kind].endswith(f": {value}")


def test_one_bad_line_costs_one_row(folder):
    (folder / "table.csv").write_bytes(TABLE.encode() + b'\xff\xfe"x,1 2\na.jpg\na.jpg,1 2,40,30,1,7,8,9\n')
    table = read(folder / "table.csv", folder)
    assert table.skipped.count == {"row with too few cells": 2}
    assert len(table.class_of_row) == 2


@pytest.mark.parametrize("row", [
    '"a.jpg,1 2,40,30,0,', 'a.jpg,"1 2,40,30,0,', 'a.jpg,1 2,40,30,"0,', 'a.jpg,1 2,40,30,0,"nice',
])  # fmt: skip
@pytest.mark.parametrize("rest", ["a.jpg,1 2,40,30,1,\n" * 2, 'a.jpg,1 2,"40",30,1,\n' * 2])
def test_a_quote_that_swallows_rows_is_an_error_and_one_around_several_lines_is_not(row, rest, folder):
    head = "ImageId,EncodedPixels,Height,Width,ClassId,Note\n"
    head += 'a.jpg,"1 2\n5 2",40,30,1,"{a: 1,\nb: 2,\nc: 3, d: 4,\ne: 5}"\na.jpg,"1\n2"\n'
    (folder / "table.csv").write_text(head)
    assert read(folder / "table.csv", folder).skipped.count == {"row with too few cells": 1}
    (folder / "table.csv").write_text(f"{head}{row}\n{rest}")
    with pytest.raises(UserError, match="table.csv: row 3 opens a quote that is not closed"):
        read(folder / "table.csv", folder)


def test_a_row_without_end_is_refused_before_it_fills_the_memory(folder, monkeypatch):
    monkeypatch.setattr(csv_rows, "LONGEST_ROW", 100)
    row = "a.jpg,1 2,40,30,1\n"
    table = "ImageId,EncodedPixels,Height,Width,ClassId\n" + 20 * row  # longer than a row, in all
    (folder / "table.csv").write_text(table)
    assert not read(folder / "table.csv", folder).skipped.count
    for endless in ("9" * 200, '"' + 10 * row, 30 * ',"\n"'):
        (folder / "table.csv").write_text(table + endless)
        with pytest.raises(UserError, match="a row has over 100 characters; is a quote opened"):
            read(folder / "table.csv", folder)


def test_gzipped_tables_are_read_and_what_is_no_table_is_refused_in_one_line(folder):
    (folder / "binary.csv").write_bytes(bytes(range(256)) * 10)
    (folder / "columns.csv").write_text("ImageId;Height;Width\na.jpg;40;30\n")
    (folder / "table.csv.gz").write_bytes(PACKED)
    assert_box(read(folder / "table.csv.gz", folder))
    reading, writing = os.pipe()  # as in --df_path <(cat table.csv)
    os.write(writing, PACKED)
    os.close(writing)
    assert_box(read(Path(f"/dev/fd/{reading}"), folder))
    (folder / "none.csv.gz").write_bytes(PACKED[:40])
    (folder / "long.csv.gz").write_bytes(gzip.compress(b"x" * 3_000_000)[:-8])  # its end cannot be unpacked
    with zipfile.ZipFile(folder / "table.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "")
    write_csv(folder, ["gone.jpg", *ROW])
    for name, words in {
        "absent.csv": r"no label table at .*absent\.csv$",
        "imaterialist/train.csv": r"no label table at .*kaggle\.com",
        "binary.csv": "lacks columns",
        "columns.csv": "its first line has no EncodedPixels, ClassId;",
        "none.csv.gz": "cannot read .* as CSV",
        "long.csv.gz": "lacks columns",
        "table.xlsx": "is an archive or a spreadsheet; unpack it, or save the label table as CSV",
        "table.csv": "nothing usable.*missing photo",
    }.items():
        with pytest.raises(UserError, match=words) as error:
            read(folder / name, folder)
        assert "\n" not in str(error.value)


def test_a_class_map_may_name_categories(folder):
    (folder / "map.yml").write_text('tops: ["top, t-shirt, sweatshirt"]\nbags: [bag]\nsaris: [sari]\nbackground: [hat]')
    classes = load_class_table(str(folder / "map.yml"))
    assert_box(read(write_csv(folder, ["a.jpg", *ROW]), folder, classes))
    rows = [["a.jpg", *ROW[:3], name] for name in ("Sari", "saris", "hats")]
    assert_box(read(write_csv(folder, *rows), folder, classes), 3)


@pytest.mark.parametrize(("name", "value"), [
    ("Shirt, Blouse", 1), ("upper", 1), ("Lower body", 2), ("jeans_3", 2), ("sling dress_93_101", 3), ("left-arm", 0),
])  # fmt: skip
def test_names_of_categories_are_read_in_place_of_numbers_and_unknown_ones_are_told(name, value, folder):
    row = ["a.jpg", *ROW[:3]]
    assert_box(read(write_csv(folder, [*row, name]), folder), value)
    unknown = [[*row, name] for name in ("frock", "kilt", "frock")]
    table = read(write_csv(folder, [*row, 1], *unknown), folder)
    assert table.skipped.lines() == ["skipped 3 row(s): unknown ClassId (first: row 2, a.jpg: 'frock')"]
    with pytest.raises(UserError, match=r"masks of unknown categories: frock \(2 masks\), kilt \(1 masks\)"):
        read(write_csv(folder, [*row, "dress"], *unknown), folder)


@pytest.mark.parametrize("nothing", ["", " ", "-1", "-1.0", "nan", "None", "NULL", "[]", "-", "0 0"])
@pytest.mark.parametrize("class_id", ["", "-1", "3"])
def test_a_row_without_pixels_says_that_its_photo_has_no_clothes(nothing, class_id, folder):
    table = read(write_csv(folder, ["a.jpg", nothing, HEIGHT, WIDTH, class_id]), folder)
    assert (table.skipped.count, len(table), table.label_map(0).any()) == ({}, 1, False)


@given(st.one_of(
    st.binary(max_size=300),
    st.builds(lambda place, other: PACKED[:place] + other + PACKED[place + len(other) :],
              st.integers(0, len(PACKED) - 1), st.binary(max_size=4)),
    st.builds(lambda content, encoding, separator: (separator.join(COLUMNS) + "\n").encode(encoding) + content,
              st.binary(max_size=200), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), st.sampled_from(SEPARATORS)),
))  # fmt: skip
@example(b"\xff\xfe")
@example(b"\x1f\x8b\x08")
def test_any_bytes_any_damaged_gzip_file_and_any_bytes_below_a_header_are_read_or_refused(one_photo, content):
    (one_photo / "table.csv").write_bytes(content)
    try:
        table = read(one_photo / "table.csv", one_photo)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert_usable(table)
