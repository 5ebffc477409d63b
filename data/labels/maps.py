"""Labels as a folder of label maps: a PNG for each photo whose grey or palette values are the classes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from data.classes import ClassTable
from data.label_values import UNKNOWN
from data.labels.photo_finder import FoundPhoto, PhotoFinder
from data.labels.rle import LabelError
from data.labels.table import TableRow
from data.photos.open import MAX_MEGAPIXELS
from utils.errors import UserError
from utils.prefetch import prefetch
from utils.ranks import cores

SCALED_BY = {"L;2": 85, "L;4": 17}  # Pillow spreads grey of 2 and 4 bits over 0 to 255


class LabelMaps:
    """A folder of label maps, in the order of their names.

    A map has its photo's name, with .png in place of the suffix or behind it. Its values are those of the classes,
    background 0, and 255 where nobody knows.
    """

    unit = "label map"
    grouped = True

    def __init__(self, df_path: str, image_folder: str, classes: ClassTable):
        """Raises UserError where a folder is missing or has no maps."""
        self.folder, self.classes = Path(df_path), classes
        self.finder = PhotoFinder(image_folder, label_maps=df_path)
        self.categories = dict(enumerate(zip(classes.names, range(len(classes.names)), strict=True)))
        self.categories[UNKNOWN] = ("unknown", UNKNOWN)
        below = (path.relative_to(self.folder) for path in self.folder.rglob("*") if path.suffix.lower() == ".png")
        self.maps = [path for path in below if not any(part.startswith(".") for part in path.parts)]
        if not self.maps:
            raise UserError(f"there are no label maps (.png) in {df_path}")
        self.maps.sort(key=lambda path: (len(path.parts), path))
        self.values: set[int] = set()
        self.passed_over: list[Path] = []

    def notes(self) -> list[str]:
        """Raises UserError where the maps have no class."""
        if self.values == {UNKNOWN}:
            raise UserError(
                f"the label maps in {self.folder} hold only 0 and {UNKNOWN}, and {UNKNOWN} stands for unknown pixels; "
                f"{', '.join(self.classes.clothes)} are 1 to {len(self.classes.clothes)}"
            )
        if not self.passed_over:
            return []
        first = self.passed_over[0]
        return [f"{len(self.passed_over)} label maps are passed over: their photo has another (first: {first})"]

    def rows(self, progress: bool) -> Iterator[TableRow]:
        """Raises UserError where a map has a value that no class has."""
        with ThreadPoolExecutor(cores()) as pool:
            read = prefetch(pool, lambda found: self._rows_of_map(*found), self._found(), limit=16)
            for _, future in tqdm(read, "reading label maps", len(self.maps), disable=not progress, leave=False):
                for row in future.result():
                    if row.category is not None:
                        self.values.add(row.category)
                    yield row

    def _found(self) -> Iterator[tuple[int, Path, FoundPhoto]]:
        """(number, map, photo) of the first map of each photo."""
        taken: set[Path] = set()
        for number, path in enumerate(self.maps, 1):
            photo = self.finder.find(path.with_suffix("").as_posix())
            if photo.path in taken:
                self.passed_over.append(path)
                continue
            taken.add(photo.path)
            yield number, path, photo

    def _rows_of_map(self, number: int, path: Path, photo: FoundPhoto) -> list[TableRow]:
        """A row for each value of a label map; or one, of a fault or of a photo without clothes."""
        runs: dict[int, np.ndarray] = {}

        def fill(row: TableRow) -> None:
            values = read_label_map(self.folder / path)
            runs.update(runs_of_values(values))
            if unknown := runs.keys() - self.categories.keys():
                names = self.classes.names
                raise UserError(
                    f"{self.folder / path} has the value {min(unknown)}, but there are {len(names)} classes, 0 to "
                    f"{len(names) - 1}: {', '.join(names)}; set --class_map to the names of all"
                )
            row.place(values.shape, "label map of another shape than its photo", "the label map has")

        row = TableRow.checked(number, str(path), photo, fill)
        return [row] if row.fault else [replace(row, category=value, runs=runs[value]) for value in runs] or [row]


def read_label_map(path: Path) -> np.ndarray:
    """The values of a grey or palette PNG: H x W, unsigned. Raises LabelError."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.width * image.height > MAX_MEGAPIXELS * 1e6:
                raise LabelError(f"label map of more than {MAX_MEGAPIXELS} megapixels")
            if image.mode not in ("1", "L", "P", "I", "I;16"):
                raise LabelError("label map that is neither grey nor palette")
            scale = SCALED_BY.get(image.tile[0][3], 1)
            values = np.asarray(image)
    except LabelError:
        raise
    except Exception:  # Pillow's decoders raise what they like on broken files
        raise LabelError("label map that cannot be read") from None
    return values.astype(np.uint8) if image.mode == "1" else values // scale


def runs_of_values(values: np.ndarray) -> dict[int, np.ndarray]:
    """Runs, as parse_rle gives them, of each value of a label map (H x W) but 0."""
    down_columns = values.T.ravel()
    edges = np.concatenate(([0], np.flatnonzero(down_columns[1:] != down_columns[:-1]) + 1, [len(down_columns)]))
    value_of_run = down_columns[edges[:-1]]
    runs = np.stack((edges[:-1], edges[1:]), 1).astype(np.int32)
    return {value: runs[value_of_run == value] for value in np.unique(value_of_run).tolist() if value}
