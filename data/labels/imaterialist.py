"""The label table of iMaterialist (Fashion) 2019 and 2020 (CSV), checked row by row."""

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from data.classes import CLOTHES, ClassTable
from data.labels.categories import Categories
from data.labels.photo_finder import PhotoFinder, where_to_get
from data.labels.rle import LabelError, parse_rle
from data.labels.table import TableRow
from utils.errors import UserError, one_line
from utils.label_values import SOME_CLOTHES, UNKNOWN

COLUMNS = ["ImageId", "EncodedPixels", "Height", "Width", "ClassId"]
# Words that may stand in place of a ClassId, for pixels whose class is not known. As categories they are negative.
WORDS = {"unknown": -UNKNOWN, "clothes": -SOME_CLOTHES}
SEPARATORS = ",;\t|"
EMPTY = {"", "nan", "na", "n/a", "<na>", "none", "null"}  # as programs write a missing value, in lower case
NO_PIXELS = EMPTY | {"-1", "-1.0", "-", "[]", "0 0"}  # in EncodedPixels
LONGEST_HEADER = 1_000_000  # characters
GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"  # first bytes


class ImaterialistTable:
    """Rows of a CSV file.

    Columns are separated by commas, semicolons, tabs or bars, and may be in any order, between others. Their names may
    be in any case and hold spaces. The text is UTF-8 or UTF-16, the file may be gzipped.
    """

    unit = "row"
    grouped = False

    def __init__(self, df_path: str, image_folder: str, classes: ClassTable):
        """Raises UserError where there is no such folder."""
        self.df_path, self.finder = df_path, PhotoFinder(image_folder)
        self.kinds = Categories.by_imaterialist(classes)
        self.kinds.table |= {number: (f"({word})", -number) for word, number in WORDS.items()}
        self.categories = self.kinds.table
        self.has_names, self.unknown_names = False, Counter()

    def notes(self, masks: Counter[int]) -> list[str]:
        """One unknown name in a table of numbers is a bad row; among names that are known it is a category."""
        return self.kinds.check(masks + self.unknown_names if self.has_names else masks, self.df_path)

    def rows(self, progress: bool) -> Iterator[TableRow]:
        """Raises UserError when the file is missing, is not such a table or lacks a column."""
        try:
            with _open(self.df_path) as file:
                rows, columns = _split(file, self.df_path)
                bar = tqdm(rows, desc="checking labels", unit=" rows", disable=not progress, leave=False)
                for number, row in enumerate(bar, 1):
                    cells = [row[i].strip() if i < len(row) else None for i in columns]
                    self._refuse_open_quote(number, row if None in cells else [cells[0], *cells[2:]])
                    yield self._row(number, cells)
        except FileNotFoundError:
            raise UserError(f"no label table at {self.df_path}{where_to_get(self.df_path)}") from None
        except (csv.Error, OSError, EOFError, zlib.error) as error:
            raise UserError(f"cannot read {self.df_path} as CSV: {one_line(error)}") from None

    def _refuse_open_quote(self, number: int, cells: list[str]) -> None:
        """Raise UserError where one of the cells, none of which should have several lines, has: they belong to rows."""
        if any("\n" in cell or "\r" in cell for cell in cells):
            raise UserError(
                f"{self.df_path}: row {number} opens a quote that is not closed there; the rows behind it would be lost"
            )

    def _row(self, number: int, cells: list[str | None]) -> TableRow:
        """cells: of COLUMNS; None in a row that ends before them."""
        image_id = cells[0] or ""
        photo = self.finder.find(image_id)
        if None in cells:
            return TableRow(number, image_id, photo, fault="row with too few cells")
        _, text, height, width, class_id = cells
        empty = text.lower() in NO_PIXELS
        if not image_id or (not empty and EMPTY & {height.lower(), width.lower(), class_id.lower()}):
            return TableRow(number, image_id, photo, fault="empty cell")
        if empty:
            return TableRow.checked(number, image_id, photo, TableRow.has_no_clothes)

        def fill(row: TableRow) -> None:
            row.category = self._category(class_id)
            size = _whole(height), _whole(width)
            row.place(size, "Height and Width that disagree with the photo", "the table says")
            row.runs = parse_rle(" ".join(text.split()), *size)  # whatever the white space

        return TableRow.checked(number, image_id, photo, fill)

    def _category(self, class_id: str) -> int:
        """Raises LabelError."""
        if class_id.lower() in WORDS:
            return WORDS[class_id.lower()]
        words = re.sub(r"(\s*_[0-9]+)+$", "", class_id)  # without attributes
        if words[:1].isalpha():
            number = self.kinds.number_of(words)
            if number not in self.kinds.undecided or self.kinds.classes != CLOTHES:
                self.has_names = True
                return number
            self.unknown_names[number] += 1
        elif (match := re.fullmatch(r"([0-9]{1,9})([.,]0*)?", words)) and int(match[1]) in self.categories:
            return int(match[1])
        raise LabelError("unknown ClassId", repr(class_id[:40]))


def _open(df_path: str) -> io.TextIOWrapper:
    """A table's text, unpacked. Raises OSError and UserError."""
    with Path(df_path).open("rb") as file:
        start = file.read(8)
    if start.startswith(ZIP):
        raise UserError(f"{df_path} is an archive or a spreadsheet; unpack it, or save the label table as CSV")
    file = io.BufferedReader((gzip.open if start.startswith(GZIP) else open)(df_path, "rb"))
    start = file.peek(4)[:4]
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return io.TextIOWrapper(file, "utf-16", "replace", newline="")
    if b"\x00" in start[:2]:  # UTF-16 without the mark in front
        order = "le" if start[1:2] == b"\x00" else "be"
        return io.TextIOWrapper(file, f"utf-16-{order}", "replace", newline="")
    return io.TextIOWrapper(file, "utf-8-sig", "replace", newline="")


def _split(file: io.TextIOWrapper, df_path: str) -> tuple[Iterator[list[str]], list[int]]:
    """(rows of cells below the header, where each of COLUMNS stands). Raises UserError."""
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


def _whole(text: str) -> int:
    """A number of pixels, as whole number, decimal number with point or comma, or with an exponent."""
    try:
        number = float(text.replace(",", "."))
        if number == int(number):
            return int(number)
    except (ValueError, OverflowError):
        pass
    raise LabelError("Height or Width that is not a number", repr(text[:40]))
