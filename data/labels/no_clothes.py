"""A folder of photographs that show no clothes: there are no labels to read, all of it is background."""

import math
from collections.abc import Iterator
from pathlib import Path

from data.labels.photo_finder import PhotoFinder, fit
from data.labels.table import LabelTable, TableRow
from data.photos.folder import find_photos


def read_no_clothes(image_folder: str, max_photos: float = math.inf) -> LabelTable:
    """A table without masks of the photographs below a folder. Raises UserError where none can be used."""
    finder = PhotoFinder(image_folder)

    def rows() -> Iterator[TableRow]:
        for number, path in enumerate(find_photos(Path(image_folder)), 1):
            photo = finder.find(path.as_posix())
            row = TableRow.of(number, str(path), photo)
            if not row.fault:
                row.stated, row.fit = photo.size, fit(photo, photo.size)._replace(settled=True)
            yield row

    return LabelTable.collect(rows(), {}, image_folder, max_photos, unit="photo")
