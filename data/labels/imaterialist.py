"""The label table of iMaterialist (Fashion) 2019 and 2020 (CSV), checked row by row."""

import bz2
import csv
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from data.classes import IMATERIALIST_CATEGORIES, ClassTable
from data.label_values import SOME_CLOTHES, UNKNOWN
from data.labels.photo_finder import PhotoFinder, disagreement, fit, where_to_get
from data.labels.rle import RunLengthError, parse_rle
from data.labels.table import LabelTable, TableRow
from utils.errors import UserError, one_line

COLUMNS = ["ImageId", "EncodedPixels", "Height", "Width", "ClassId"]
# Words that may stand in place of a ClassId, for pixels whose class is not known. As categories they are negative.
WORDS = {"unknown": -UNKNOWN, "clothes": -SOME_CLOTHES}
SEPARATORS = ",;\t|"
EMPTY = {"", "nan", "na", "n/a", "<na>", "none", "null"}  # as programs write a missing value, in lower case
LONGEST_HEADER = 1_000_000  # characters
COMPRESSED = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open))
BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, RuntimeError)


def read_table(
    df_path: str,
    image_folder: str,
    classes: ClassTable,
    max_photos: float = float("inf"),
    progress: bool = False,
    watch: Callable[[TableRow], None] | None = None,
) -> LabelTable:
    """The usable rows of a table, see LabelTable.collect.

    Raises UserError when folder or table are missing or nothing is usable.
    """
    finder = PhotoFinder(image_folder)
    categories = {category: (_name(category), value) for category, value in classes.by_category.items()}
    categories |= {number: (f"({word})", -number) for word, number in WORDS.items()}
    rows = read_rows(df_path, finder, set(categories), progress)
    return LabelTable.collect(rows, categories, f"{df_path} with photographs in {image_folder}", max_photos, watch)


def _name(category: int) -> str:
    known = category < len(IMATERIALIST_CATEGORIES)
    return IMATERIALIST_CATEGORIES[category] if known else "(of the class map)"


def read_rows(df_path: str, finder: PhotoFinder, known_ids: set[int], progress: bool = False) -> Iterator[TableRow]:
    """Every row of a table with its runs or with the first fault found in it.

    Columns are separated by commas, semicolons, tabs or bars, and may be in any order, between others. Their names may
    be in any case and hold spaces. The text is UTF-8 or UTF-16, the file may be compressed. Raises UserError when the
    file is missing, is not such a table or lacks a column.
    """
    try:
        with _open(df_path) as file:
            rows, columns = _split(file, df_path)
            for number, cells in enumerate(
                tqdm(rows, desc="checking labels", unit=" rows", disable=not progress, leave=False), 1
            ):
                wanted = [cells[i].strip() if i < len(cells) else None for i in columns]
                yield _check_row(number, wanted, finder, known_ids)
    except FileNotFoundError:
        raise UserError(f"no label table at {df_path}{where_to_get(df_path)}") from None
    except (csv.Error, *BROKEN) as error:
        raise UserError(f"cannot read {df_path} as CSV: {one_line(error)}") from None


def _open(df_path: str) -> io.TextIOWrapper:
    """A table's text, unpacked."""
    path = Path(df_path)
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(b"PK\x03\x04"):
        file = _only_member(path)
    else:
        opener = next((opener for magic, opener in COMPRESSED if start.startswith(magic)), Path.open)
        file = opener(path, "rb")
    buffered = io.BufferedReader(file)
    start = buffered.peek(4)[:4]
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return io.TextIOWrapper(buffered, "utf-16", "replace", newline="")
    if b"\x00" in start[:2]:  # UTF-16 without the mark in front
        order = "le" if start[1:2] == b"\x00" else "be"
        return io.TextIOWrapper(buffered, f"utf-16-{order}", "replace", newline="")
    return io.TextIOWrapper(buffered, "utf-8-sig", "surrogateescape", newline="")


def _only_member(path: Path) -> BinaryIO:
    archive = zipfile.ZipFile(path)
    names = [name for name in archive.namelist() if name.lower().endswith((".csv", ".tsv", ".txt"))]
    if len(names) != 1:
        spreadsheet = "[Content_Types].xml" in archive.namelist()
        kind = "a spreadsheet" if spreadsheet else "an archive that does not hold one CSV file"
        raise UserError(f"{path} is {kind}; save the label table as CSV")
    return archive.open(names[0])


def _split(file: io.TextIOWrapper, df_path: str) -> tuple[Iterator[list[str]], list[int]]:
    """(rows of cells below the header, where each of COLUMNS stands)."""
    csv.field_size_limit(2**31 - 1)
    line = file.readline(LONGEST_HEADER)
    while line and (not line.strip() or re.fullmatch(r'"?sep=.?"?\s*', line)):  # Excel's own first line
        line = file.readline(LONGEST_HEADER)
    found: dict[str, list[str]] = {}
    for separator in SEPARATORS:
        header = [_folded(name) for name in next(csv.reader([line], delimiter=separator), [])]
        missing = [name for name in COLUMNS if _folded(name) not in header]
        if not missing:
            rows = csv.reader(file, delimiter=separator, skipinitialspace=True)
            filled = (row for row in rows if any(map(str.strip, row)))
            return filled, [header.index(_folded(name)) for name in COLUMNS]
        found[separator] = missing
    missing = min(found.values(), key=len)
    raise UserError(
        f"{df_path} lacks columns, it needs {', '.join(COLUMNS)}: its first line has no {', '.join(missing)}; "
        "is it a label table as CSV?"
    )


def _folded(column: str) -> str:
    return re.sub(r"[\W_]+", "", column).lower()


def _check_row(number: int, cells: list[str | None], finder: PhotoFinder, known_ids: set[int]) -> TableRow:
    """cells: of COLUMNS; None in a row that ends before them."""
    image_id = _repaired(cells[0] or "")
    photo = finder.find(image_id)
    row = TableRow.of(number, image_id, photo)
    if None in cells:
        row.fault, row.detail = "row with too few cells", ""
        return row
    _, text, height, width, class_id = cells
    if not image_id or (text.lower() not in EMPTY and EMPTY & {height.lower(), width.lower(), class_id.lower()}):
        row.fault, row.detail = "empty cell", ""
        return row
    if row.fault:
        return row
    if text.lower() in EMPTY:  # no clothes here
        row.stated, row.fit = photo.size, fit(photo, photo.size)._replace(settled=True)
        return row
    category = WORDS.get(class_id.lower())
    if match := re.fullmatch(r"([0-9]{1,9})([.,]0*)?", class_id.split("_")[0].strip()):  # attributes may follow
        category = int(match[1])
    if category not in known_ids:
        row.fault = "unknown ClassId"
        return row
    stated = _whole(height), _whole(width)
    if None in stated:
        row.fault = "Height or Width that is not a number"
    elif not (placed := fit(photo, stated)):
        row.fault, row.detail = "Height and Width that disagree with the photo", disagreement(photo, stated)
    else:
        try:
            row.runs = parse_rle(" ".join(text.split()), *stated)  # other white space than single spaces
            row.category, row.stated, row.fit = category, stated, placed
        except RunLengthError as error:
            row.fault = str(error)
    return row


def _whole(text: str) -> int | None:
    """A number of pixels, as whole number, decimal number with point or comma, or with an exponent."""
    try:
        number = float(text.replace(",", "."))
        return int(number) if number == int(number) else None
    except (ValueError, OverflowError):
        return None


def _repaired(name: str) -> str:
    """A name from a table that is not UTF-8, as Excel saves one where the system's letters are Western European."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    return name
