"""The label table of iMaterialist (Fashion) 2019 and 2020, checked row by row."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from data.classes import ClassTable
from data.rle import RunLengthError, parse_rle
from utils.errors import UserError

COLUMNS = ["ImageId", "EncodedPixels", "Height", "Width", "ClassId"]
DOWNLOAD_HINT = (
    "get the data set at https://www.kaggle.com/c/imaterialist-fashion-2019-FGVC6/data and set "
    "--image_folder (the photographs) and --df_path (train.csv)"
)


@dataclass
class SkippedRows:
    """Rows that cannot be used, by kind of fault."""

    count: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, row: int, image_id: str) -> None:
        self.count[kind] = self.count.get(kind, 0) + 1
        self.first.setdefault(kind, f"row {row}, {image_id}")

    def lines(self) -> list[str]:
        return [f"skipped {n} row(s): {kind} (first: {self.first[kind]})" for kind, n in self.count.items()]


@dataclass
class LabelTable:
    """The usable rows of a table, in flat tensors.

    Tensors, because loader workers share them: forked workers by the pages of their parent, spawned ones
    by shared memory. A data frame or a list of a few 100,000 Python objects would be copied to each.

    files: path of each photo. sizes: P x 2 int32 (height, width) as stored. rows_of: P + 1 int64, photo p
    owns rows rows_of[p] to rows_of[p + 1]. label: R uint8, the class of each row; background rows are left
    out. runs_of: R + 1 int64 into runs. runs: N x 2 int32, see parse_rle.
    """

    files: list[Path]
    sizes: Tensor
    rows_of: Tensor
    label: Tensor
    runs_of: Tensor
    runs: Tensor
    skipped: SkippedRows

    def __len__(self) -> int:
        return len(self.files)

    def size(self, photo: int) -> tuple[int, int]:
        return tuple(self.sizes[photo].tolist())

    def rows(self, photo: int) -> Iterator[tuple[int, np.ndarray]]:
        """(class, runs) of each row of a photo."""
        for row in range(int(self.rows_of[photo]), int(self.rows_of[photo + 1])):
            begin, end = self.runs_of[row : row + 2].tolist()
            yield int(self.label[row]), self.runs[begin:end].numpy()


@dataclass
class TableRow:
    """One row of a table as read, before anything of it is trusted; ``row`` counts from 1 below the header."""

    row: int
    image_id: str
    category: int | None
    runs: np.ndarray | None
    fault: str | None


class Photos:
    """File and stored size of each image id, looked up once."""

    def __init__(self, folder: str):
        self.folder = Path(folder)
        self._known: dict[str, tuple[Path, tuple[int, int] | None]] = {}

    def __call__(self, image_id: str) -> tuple[Path, tuple[int, int] | None, str | None]:
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
                return path, None, "missing photo"
            with Image.open(path) as photo:  # reads the header only
                return path, (photo.height, photo.width), None
        except (OSError, ValueError, SyntaxError):
            return path, None, "photo that cannot be read"


def read_rows(df_path: str, photos: Photos, known_ids: set[int], progress: bool = False) -> Iterator[TableRow]:
    """Every row of a table with its runs or with the first fault found in it.

    Raises UserError when the file is missing, is no CSV or lacks a column.
    """
    row_number = 0
    try:
        chunks = pd.read_csv(df_path, usecols=COLUMNS, dtype=str, chunksize=10_000)
        for chunk in tqdm(chunks, desc="checking labels", unit="0k rows", disable=not progress, leave=False):
            for row in chunk[COLUMNS].itertuples(index=False, name=None):
                row_number += 1
                yield _check_row(row_number, row, photos, known_ids)
    except FileNotFoundError:
        raise UserError(f"no label table at {df_path}; {DOWNLOAD_HINT}") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"cannot read {df_path} as CSV: {' '.join(str(error).split())}") from None
    except ValueError as error:  # pandas names the columns that usecols did not find
        raise UserError(f"{df_path} lacks columns, it needs {', '.join(COLUMNS)}: {error}") from None


def _check_row(number: int, row: tuple, photos: Photos, known_ids: set[int]) -> TableRow:
    image_id, text, height, width, class_id = row

    def faulty(kind: str) -> TableRow:
        return TableRow(number, str(image_id), None, None, kind)

    if any(cell != cell for cell in row):  # NaN
        return faulty("empty cell")
    category = class_id.split("_")[0].strip()  # attributes may follow, as in 10_93_101
    if not (category.isascii() and category.isdigit() and len(category) < 10 and int(category) in known_ids):
        return faulty("unknown ClassId")
    try:
        stated = (int(float(height)), int(float(width)))
    except (ValueError, OverflowError):
        return faulty("Height or Width that is not a number")
    _, size, fault = photos(image_id)
    if fault:
        return faulty(fault)
    if stated != size:
        return faulty("Height and Width that disagree with the photo")
    try:
        return TableRow(number, image_id, int(category), parse_rle(text, *size), None)
    except RunLengthError as error:
        return faulty(str(error))


def read_table(
    df_path: str, image_folder: str, classes: ClassTable, max_photos: float = float("inf"), progress: bool = False
) -> LabelTable:
    """The usable rows of a table, photos in the order of their first row.

    A row that cannot be used is counted in ``skipped``; a photo with no usable row is left out.
    max_photos: stop after that many. Raises UserError when folder or table are missing or nothing is usable.
    """
    if not Path(image_folder).is_dir():
        raise UserError(f"no photographs at {image_folder}; {DOWNLOAD_HINT}")
    photos, skipped = Photos(image_folder), SkippedRows()
    class_of = classes.by_category
    rows_by_photo: dict[str, list[tuple[int, np.ndarray]]] = {}
    for row in read_rows(df_path, photos, set(class_of), progress):
        if row.fault:
            skipped.add(row.fault, row.row, row.image_id)
            continue
        if row.image_id not in rows_by_photo:
            if len(rows_by_photo) >= max_photos:
                continue
            rows_by_photo[row.image_id] = []
        if class_of[row.category]:
            rows_by_photo[row.image_id].append((class_of[row.category], row.runs))
    if not rows_by_photo:
        reason = "; ".join(skipped.lines()) or "it has no rows"
        raise UserError(f"nothing usable in {df_path} with photographs in {image_folder}: {reason}")

    found = [photos(image_id) for image_id in rows_by_photo]
    rows = [row for rows in rows_by_photo.values() for row in rows]
    return LabelTable(
        files=[path for path, _, _ in found],
        sizes=torch.tensor([size for _, size, _ in found], dtype=torch.int32),
        rows_of=_offsets(len(rows) for rows in rows_by_photo.values()),
        label=torch.tensor([label for label, _ in rows], dtype=torch.uint8),
        runs_of=_offsets(len(runs) for _, runs in rows),
        runs=torch.from_numpy(np.concatenate([runs for _, runs in rows] or [np.empty((0, 2), np.int32)])),
        skipped=skipped,
    )


def _offsets(lengths) -> Tensor:
    return torch.from_numpy(np.cumsum([0, *lengths], dtype=np.int64))
