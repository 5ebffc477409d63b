"""Rows of tables (CSV) as programs and spreadsheets write them."""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from data.labels.photo_finder import where_to_get
from utils.errors import UserError, one_line

SEPARATORS = ",;\t|"
LONGEST_HEADER, LONGEST_ROW = 1_000_000, 50_000_000  # characters; a gzipped file of a few MB could hold billions
GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"  # first bytes


def read_rows(path: str, columns: list[str], kind: str) -> Iterator[tuple[list[str | None], int]]:
    """(cells of ``columns``, None where the row ends before them; number of cells that no column has) of each row.

    Columns are separated by commas, semicolons, tabs or bars, and may be in any order, between others. Their names may
    be in any case and hold spaces. The text is UTF-8 or UTF-16, the file may be gzipped. Empty rows are passed over.
    kind: what the table is called in messages. Raises UserError where the file is missing, is not such a table, lacks
    a column, or where a quote that is not closed swallows rows.
    """
    try:
        with Path(path).open("rb") as raw:  # once: a pipe is gone when it is closed
            file = _text(raw, path, kind)
            header, separator = _header(file, path, columns, kind)
            places = [header.index(_folded(name)) for name in columns]
            rows = _rows(file, separator)
            for number, row in enumerate((row for row in rows if any(map(str.strip, row))), 1):
                if any(_swallows_rows(cell, separator, len(header), len(row)) for cell in row):
                    raise UserError(f"{path}: row {number} opens a quote that is not closed there; correct it")
                yield [row[i].strip() if i < len(row) else None for i in places], len(row) - len(header)
    except FileNotFoundError:
        raise UserError(f"no {kind} at {path}{where_to_get(path)}") from None
    except (csv.Error, OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {path} as CSV: {one_line(error)}") from None


def _rows(file: io.TextIOWrapper, separator: str) -> Iterator[list[str]]:
    """The cells of each row. Raises csv.Error where a row is too long."""
    left = LONGEST_ROW

    def lines() -> Iterator[str]:
        nonlocal left
        while line := file.readline(left + 1):
            left -= len(line)
            if left < 0:
                raise csv.Error(f"a row has over {LONGEST_ROW:,} characters; is a quote opened that is not closed?")
            yield line

    for row in csv.reader(lines(), delimiter=separator, skipinitialspace=True):
        left = LONGEST_ROW
        yield row


def _swallows_rows(cell: str, separator: str, columns: int, cells: int) -> bool:
    """Whether a cell of several lines holds separators, and has a whole row as a line, or breaks up its own row."""
    lines = cell.splitlines() if separator in cell else []
    return len(lines) > 1 and (cells != columns or any(line.count(separator) >= columns - 1 for line in lines[1:]))


def _text(file: io.BufferedReader, path: str, kind: str) -> io.TextIOWrapper:
    """A table's text, unpacked. Raises OSError and UserError."""
    start = file.peek(4)[:4]
    if start.startswith(ZIP):
        raise UserError(f"{path} is an archive or a spreadsheet; unpack it, or save the {kind} as CSV")
    if start.startswith(GZIP):
        file = io.BufferedReader(gzip.GzipFile(fileobj=file))
        start = file.peek(4)[:4]
    encoding = "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    if b"\x00" in start[:2]:  # UTF-16 without the mark in front
        encoding = "utf-16-le" if start[1:2] == b"\x00" else "utf-16-be"
    return io.TextIOWrapper(file, encoding, "replace", newline="")


def _header(file: io.TextIOWrapper, path: str, columns: list[str], kind: str) -> tuple[list[str], str]:
    """(folded names of all columns, what separates them). Raises UserError."""
    csv.field_size_limit(2**31 - 1)
    line = file.readline(LONGEST_HEADER)
    while line and (not line.strip() or re.fullmatch(r'"?sep=.?"?\s*', line)):  # Excel's own first line
        line = file.readline(LONGEST_HEADER)
    headers = [[_folded(name) for name in next(csv.reader([line], delimiter=each), [])] for each in SEPARATORS]
    header = max(headers, key=lambda header: sum(_folded(name) in header for name in columns))
    missing = [name for name in columns if _folded(name) not in header]
    if not missing:
        return header, SEPARATORS[headers.index(header)]
    raise UserError(
        f"{path} lacks columns, it needs {', '.join(columns)}: its first line has no {', '.join(missing)}; "
        f"is it a {kind} as CSV?"
    )


def _folded(column: str) -> str:
    return re.sub(r"[\W_]+", "", column).lower()
