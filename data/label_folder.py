"""Labels as a folder of label maps: a PNG for each photo whose grey or palette values are the classes."""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from data.classes import ClassTable
from data.label_table import LabelTable, TableRow
from data.photo import MAX_MEGAPIXELS
from data.photo_finder import FoundPhoto, PhotoFinder, disagreement, fit
from utils.errors import UserError
from utils.labels import SOME_CLOTHES, UNKNOWN
from utils.launcher import cores
from utils.prefetch import ahead

SCALED_BY = {"L;2": 85, "L;4": 17}  # Pillow spreads grey of 2 and 4 bits over 0 to 255


class LabelMapError(ValueError):
    """A label map that cannot be used; the message names the kind of fault."""


def read_folder(
    df_path: str,
    image_folder: str,
    classes: ClassTable,
    max_photos: float = math.inf,
    progress: bool = False,
    watch: Callable[[TableRow], None] | None = None,
) -> LabelTable:
    """The label maps below the folder ``df_path``, in the order of their names; see LabelTable.collect.

    A map has its photo's name, with .png in place of the suffix or behind it. Its values are those of the classes,
    background 0, 254 for clothes of unknown class, and 255 where nobody knows. Raises UserError when a folder is
    missing, a map has a value that no class has, or nothing is usable.
    """
    finder = PhotoFinder(image_folder, label_maps=df_path)
    categories = {value: (name, value) for value, name in enumerate(classes.names)}
    categories |= {SOME_CLOTHES: ("clothes", SOME_CLOTHES), UNKNOWN: ("unknown", UNKNOWN)}
    maps = [
        path.relative_to(df_path)
        for path in Path(df_path).rglob("*")
        if path.suffix.lower() == ".png" and not any(p.startswith(".") for p in path.relative_to(df_path).parts)
    ]
    if not maps:
        raise UserError(f"there are no label maps (.png) in {df_path}")
    maps.sort(key=lambda path: (len(path.parts), path))
    second: list[Path] = []

    def found() -> Iterator[tuple[int, Path, FoundPhoto]]:
        taken: set[Path] = set()
        for number, path in enumerate(maps, 1):
            photo = finder.find(path.with_suffix("").as_posix())
            if photo.path in taken:
                second.append(path)
                continue
            taken.add(photo.path)
            yield number, path, photo

    def rows() -> Iterator[TableRow]:
        usable = 0
        with ThreadPoolExecutor(cores()) as pool:
            read = ahead(pool, lambda item: _rows(Path(df_path), *item, classes), found(), limit=16)
            for _, future in tqdm(read, "reading label maps", len(maps), disable=not progress, leave=False):
                rows_of_map = future.result()
                if usable >= max_photos:
                    return
                usable += not rows_of_map[0].fault
                yield from rows_of_map

    source = f"{df_path} with photographs in {image_folder}"
    table = LabelTable.collect(rows(), categories, source, max_photos, watch, unit="label map")
    values = table.class_of_row.unique().tolist()
    if values == [UNKNOWN]:
        raise UserError(
            f"the label maps in {df_path} hold only 0 and {UNKNOWN}, and {UNKNOWN} stands for unknown pixels; "
            f"{', '.join(classes.clothes)} are 1 to {len(classes.clothes)}"
        )
    if second:
        table.notes.append(f"{len(second)} label maps are passed over: their photo has another (first: {second[0]})")
    return table


def _rows(folder: Path, number: int, path: Path, photo: FoundPhoto, classes: ClassTable) -> list[TableRow]:
    """A row for each value of a label map; or one, of a fault or of a photo without clothes."""
    row = TableRow.of(number, str(path), photo)
    if row.fault:
        return [row]
    try:
        values = read_label_map(folder / path)
    except LabelMapError as error:
        row.fault = str(error)
        return [row]
    runs = runs_of_values(values)
    for value in runs:
        if value >= len(classes.names) and value not in (SOME_CLOTHES, UNKNOWN):
            raise UserError(
                f"{folder / path} has the value {value}, but there are {len(classes.names)} classes, 0 to "
                f"{len(classes.names) - 1}: {', '.join(classes.names)}; set --class_map to the names of all"
            )
    row.stated, row.fit = values.shape, fit(photo, values.shape)
    if not row.fit:
        row.fault, row.detail = (
            "label map of another shape than its photo",
            disagreement(photo, values.shape, "the label map has"),
        )
        return [row]
    return [replace(row, category=value, runs=runs[value]) for value in runs] or [row]


def read_label_map(path: Path) -> np.ndarray:
    """The values of a grey or palette PNG: H x W, unsigned. Raises LabelMapError."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.width * image.height > MAX_MEGAPIXELS * 1e6:
                raise LabelMapError(f"label map of more than {MAX_MEGAPIXELS} megapixels")
            if image.mode not in ("1", "L", "P", "I", "I;16"):
                raise LabelMapError("label map that is neither grey nor palette")
            scale = SCALED_BY.get(image.tile[0][3], 1)
            values = np.asarray(image)
    except LabelMapError:
        raise
    except Exception:  # Pillow's decoders raise what they like on broken files
        raise LabelMapError("label map that cannot be read") from None
    return values.astype(np.uint8) if image.mode == "1" else values // scale


def runs_of_values(values: np.ndarray) -> dict[int, np.ndarray]:
    """Runs, as parse_rle gives them, of each value of a label map (H x W) but 0."""
    down_columns = values.T.ravel()
    edges = np.concatenate(([0], np.flatnonzero(down_columns[1:] != down_columns[:-1]) + 1, [len(down_columns)]))
    value_of_run = down_columns[edges[:-1]]
    runs = np.stack((edges[:-1], edges[1:]), 1).astype(np.int32)
    return {value: runs[value_of_run == value] for value in np.unique(value_of_run).tolist() if value}
