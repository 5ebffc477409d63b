"""The label table of iMaterialist (Fashion) 2019 and 2020 (CSV), checked row by row."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from data.classes import ClassTable
from data.label_table import LabelTable, Mask, SkippedRows
from data.rle import RunLengthError, parse_rle
from utils.errors import UserError
from utils.labels import SOME_CLOTHES, UNKNOWN

COLUMNS = ["ImageId", "EncodedPixels", "Height", "Width", "ClassId"]
MISSING_PHOTO = "missing photo"
# Words that may stand in place of a ClassId, for pixels whose class is not known. As categories they are negative.
WORDS = {"unknown": -UNKNOWN, "clothes": -SOME_CLOTHES}


@dataclass
class TableRow:
    """One row of a table, checked.

    row: counts from 1 below the header. photo: where the file is or should be, and ``photo_fault`` what is wrong with
    it. category, runs: None where there is a ``fault``, which says what is wrong with the row.
    """

    row: int
    image_id: str
    photo: Path
    photo_fault: str | None
    category: int | None = None
    runs: np.ndarray | None = None
    fault: str | None = None


class PhotoFinder:
    """File and stored size of each image id of a folder, looked up once."""

    def __init__(self, folder: str):
        self.folder = Path(folder)
        self._known: dict[str, tuple[Path, tuple[int, int] | None, str | None]] = {}

    def find(self, image_id: str) -> tuple[Path, tuple[int, int] | None, str | None]:
        """(path, (height, width), fault); the size is None where there is a fault."""
        if image_id not in self._known:
            self._known[image_id] = self._look_up(image_id)
        return self._known[image_id]

    def _look_up(self, image_id: str):
        path = self.folder / image_id
        if not path.suffix:  # the 2020 edition leaves it out
            path = path.with_name(path.name + ".jpg")
        try:
            if ".." in Path(image_id).parts or not path.is_file():
                return path, None, MISSING_PHOTO
            with Image.open(path) as photo:  # reads the header only
                return path, (photo.height, photo.width), None
        except (OSError, ValueError, SyntaxError):
            return path, None, "photo that cannot be read"


def read_table(
    df_path: str,
    image_folder: str,
    classes: ClassTable,
    max_photos: float = float("inf"),
    progress: bool = False,
    watch: Callable[[TableRow], None] | None = None,
) -> LabelTable:
    """The usable rows of a table, photos in the order of their first row.

    A row that cannot be used is counted in ``skipped``; a photo with no usable row is left out.
    max_photos: stop after that many. watch: is shown every row. Raises UserError when folder or table are missing
    or nothing is usable.
    """
    if not Path(image_folder).is_dir():
        raise UserError(f"no folder of photographs at {image_folder}")
    finder, skipped = PhotoFinder(image_folder), SkippedRows()
    class_of = classes.by_category | {category: -category for category in WORDS.values()}
    masks_of_photo: dict[str, list[Mask]] = {}
    for row in read_rows(df_path, finder, set(class_of), progress):
        if watch:
            watch(row)
        if row.fault:
            skipped.add(row.fault, row.row, row.image_id)
            continue
        if row.image_id not in masks_of_photo:
            if len(masks_of_photo) >= max_photos:
                continue
            masks_of_photo[row.image_id] = []
        if class_of[row.category]:
            masks_of_photo[row.image_id].append((class_of[row.category], row.runs))
    if not masks_of_photo:
        reason = "; ".join(skipped.lines()) or "it has no rows"
        raise UserError(f"nothing usable in {df_path} with photographs in {image_folder}: {reason}")
    return LabelTable.pack(((*finder.find(image_id)[:2], masks) for image_id, masks in masks_of_photo.items()), skipped)


def read_rows(df_path: str, finder: PhotoFinder, known_ids: set[int], progress: bool = False) -> Iterator[TableRow]:
    """Every row of a table with its runs or with the first fault found in it.

    Raises UserError when the file is missing, is not a CSV or lacks a column.
    """
    row_number = 0
    try:
        chunks = pd.read_csv(df_path, usecols=COLUMNS, dtype=str, chunksize=10_000)
        for chunk in tqdm(chunks, desc="checking labels", unit="0k rows", disable=not progress, leave=False):
            for row in chunk[COLUMNS].itertuples(index=False, name=None):
                row_number += 1
                yield _check_row(row_number, row, finder, known_ids)
    except FileNotFoundError:
        raise UserError(f"no label table at {df_path}") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"cannot read {df_path} as CSV: {' '.join(str(error).split())}") from None
    except ValueError as error:  # pandas names the columns that usecols did not find
        raise UserError(f"{df_path} lacks columns, it needs {', '.join(COLUMNS)}: {error}") from None


def _check_row(number: int, cells: tuple, finder: PhotoFinder, known_ids: set[int]) -> TableRow:
    image_id, text, height, width, class_id = cells
    photo, size, photo_fault = finder.find(str(image_id))
    row = TableRow(number, str(image_id), photo, photo_fault)
    if any(cell != cell for cell in cells):  # NaN
        row.fault = "empty cell"
        return row
    category = class_id.split("_")[0].strip()  # attributes may follow, as in 10_93_101
    number_of_category = int(category) if category.isascii() and category.isdigit() and len(category) < 10 else None
    number_of_category = WORDS.get(category, number_of_category)
    if number_of_category not in known_ids:
        row.fault = "unknown ClassId"
        return row
    try:
        stated = (int(float(height)), int(float(width)))
    except (ValueError, OverflowError):
        row.fault = "Height or Width that is not a number"
        return row
    if photo_fault:
        row.fault = photo_fault
    elif stated != size:
        row.fault = "Height and Width that disagree with the photo"
    else:
        try:
            row.category, row.runs = number_of_category, parse_rle(text, *size)
        except RunLengthError as error:
            row.fault = str(error)
    return row
