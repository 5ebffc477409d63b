"""The labels of a data set, whichever of the known formats they are in."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

from data.classes import ClassTable
from data.labels.coco import CocoFile
from data.labels.imaterialist import ImaterialistTable
from data.labels.label_maps import LabelMaps
from data.labels.photo_finder import PhotoFinder
from data.labels.table import LabelTable, TableRow
from data.photos.folder import find_photos


def read_labels(
    df_path: str | None,
    image_folder: str,
    classes: ClassTable,
    max_photos: float = math.inf,
    progress: bool = False,
    on_row: Callable[[TableRow], None] | None = None,
) -> LabelTable:
    """The labels at ``df_path``: a folder of label maps, a COCO file (.json, .json.gz), or else a table (CSV).

    None: no photo in the folder shows clothes. See LabelTable.collect. Raises UserError.
    """
    source = f"{df_path} with photos in {image_folder}"
    if df_path is None:
        reader, source = PhotosWithoutClothes(image_folder), image_folder
    elif Path(df_path).is_dir():
        reader = LabelMaps(df_path, image_folder, classes)
    elif Path(df_path).name.lower().endswith((".json", ".json.gz")):
        reader = CocoFile(df_path, image_folder, classes)
    else:
        reader = ImaterialistTable(df_path, image_folder, classes)
    return LabelTable.collect(reader, source, max_photos, progress, on_row)


class PhotosWithoutClothes:
    """A row for each photo below a folder, in the order of their names; there are no labels, all is background."""

    unit = "photo"
    grouped = True
    categories: dict[int, tuple[str, int]] = {}

    def __init__(self, image_folder: str):
        """Raises UserError where there is no such folder, or no photo in it."""
        self.finder = PhotoFinder(image_folder)
        self.photos = find_photos(Path(image_folder))

    def notes(self, *_) -> list[str]:
        return []

    def rows(self, progress: bool) -> Iterator[TableRow]:
        for number, path in enumerate(self.photos, 1):
            name = path.as_posix()
            yield TableRow.checked(number, name, self.finder.find(name), TableRow.has_no_clothes)
