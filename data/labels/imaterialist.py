"""The label table of iMaterialist (Fashion) 2019 and 2020 (CSV), checked row by row."""

import re
from collections import Counter
from collections.abc import Iterator

from tqdm import tqdm

from data.classes import CLOTHES, ClassTable
from data.labels.categories import Categories
from data.labels.csv_rows import read_rows
from data.labels.photo_finder import PhotoFinder
from data.labels.rle import LabelError, parse_rle
from data.labels.table import TableRow
from utils.label_values import SOME_CLOTHES, UNKNOWN

COLUMNS = ["ImageId", "EncodedPixels", "Height", "Width", "ClassId"]
# Words that may stand in place of a ClassId, for pixels whose class is not known. As categories they are negative.
WORDS = {"unknown": -UNKNOWN, "clothes": -SOME_CLOTHES}
EMPTY = {"", "nan", "na", "n/a", "<na>", "none", "null"}  # as programs write a missing value, in lower case
NO_PIXELS = EMPTY | {"-1", "-1.0", "-", "[]", "0 0"}  # in EncodedPixels


class ImaterialistTable:
    """Rows of a CSV file, see read_rows."""

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
        """Raises UserError as read_rows does."""
        rows = read_rows(self.df_path, COLUMNS, "label table")
        bar = tqdm(rows, desc="checking labels", unit=" rows", disable=not progress, leave=False)
        for number, (cells, _) in enumerate(bar, 1):
            yield self._row(number, cells)

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


def _whole(text: str) -> int:
    """A number of pixels, as whole number, decimal number with point or comma, or with an exponent."""
    try:
        number = float(text.replace(",", "."))
        if number == int(number):
            return int(number)
    except (ValueError, OverflowError):
        pass
    raise LabelError("Height or Width that is not a number", repr(text[:40]))
