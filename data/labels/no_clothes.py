"""A folder of photos that show no clothes: there are no labels to read, all of it is background."""

from collections.abc import Iterator
from pathlib import Path

from data.labels.photo_finder import PhotoFinder
from data.labels.table import TableRow
from data.photos.folder import find_photos


class PhotosWithoutClothes:
    """A row for each photo below a folder, in the order of their names."""

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
