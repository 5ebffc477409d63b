"""Labels as a folder of label maps: PNGs whose values, colours or names are the classes."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.classes import ClassTable
from data.labels import cvat, label_studio, named_values
from data.labels.categories import PARTLY_KNOWN, Categories, listed
from data.labels.label_map_values import read_label_map
from data.labels.photo_finder import MISSING_PHOTO, FoundPhoto, PhotoFinder
from data.labels.table import TableRow
from data.photos.folder import find_files, list_photos
from utils.errors import UserError
from utils.label_values import UNKNOWN
from utils.prefetch import prefetch
from utils.ranks import cores

KINDS = "masks?|seg|segm|segs|segmentations?|labels?|labelmaps?|parsing|parse|gt|anno|annotations?|labelids"
ENDING = re.compile(rf"[-_. ]({KINDS})$", re.IGNORECASE)
BEGINNING = re.compile(rf"(^|/)({KINDS})[-_. ](?=[^/]+$)", re.IGNORECASE)
PERSON = re.compile(r"_\d\d_\d\d$")  # in MHP: how many people there are, and which of them this is


class LabelMaps:
    """A folder of label maps, in the order of their names.

    A map has its photo's name, with .png in place of the suffix or behind it; see _spellings. Its values are those of
    the classes, or of a class map's numbers; see label_values.py for 254 and 255. A folder that another program
    wrote may name its labels: see the modules cvat, label_studio and named_values.
    """

    unit = "label map"
    grouped = True

    def __init__(self, df_path: str, image_folder: str, classes: ClassTable):
        """Raises UserError where a folder is missing or has no maps, and see Categories."""
        self.folder, self.classes = Path(df_path), classes
        self.maps = self._find_maps(Path(image_folder))
        self.finder = PhotoFinder(image_folder, df_path, self.maps)
        self.shared_endings = _shared_endings([path.with_suffix("").as_posix() for path in self.maps])
        self.labels = (
            cvat.read(self.folder) or label_studio.read(self.folder, self.maps) or named_values.read(self.folder)
        )
        if self.labels:
            self.kinds = Categories.by_name(classes, self.labels.names, df_path)
            self.kinds.table.setdefault(UNKNOWN, PARTLY_KNOWN[UNKNOWN])
        else:
            self.kinds = Categories.by_value(classes)
        self.categories = self.kinds.table
        self.passed_over: list[Path] = []

    def _find_maps(self, image_folder: Path) -> list[Path]:
        """Relative to the folder. Raises UserError."""
        maps = find_files(self.folder, ".png")
        classes_alone = [path for path in maps if cvat.CLASSES in path.parts]  # and not CVAT's maps of single objects
        maps = classes_alone or maps
        if self.folder.resolve() == image_folder.resolve():  # where photos may be PNGs too
            maps = [path for path in maps if ENDING.search(path.stem)] or maps
        if not maps:
            raise UserError(f"there are no label maps (PNG) in {self.folder}; docs/data.md says how to export them")
        return sorted(maps, key=lambda path: (len(path.parts), path))

    def notes(self, masks: Counter[int]) -> list[str]:
        values = {value for value in masks if self.categories[value][1] != UNKNOWN}
        clothes = self.classes.clothes
        in_order = f"{', '.join(clothes)} are 1 to {len(clothes)}"
        if masks and not values:
            raise UserError(
                f"the label maps in {self.folder} hold only 0 and {UNKNOWN}, and {UNKNOWN} stands for unknown pixels; "
                f"{in_order}"
            )
        no_class = not any(self.categories[value][1] for value in values)
        by_number = not self.labels and bool(self.kinds.undecided)
        if by_number and values and max(values) <= len(clothes) and (no_class or values & self.kinds.undecided):
            raise UserError(
                f"the label maps in {self.folder} have only the values {listed(map(str, sorted(values)))}; if there "
                f"{in_order}, as infer.py writes them, say so in the class map: its numbers are taken as these values"
            )
        notes = self.kinds.as_text() if self.labels or self.kinds.undecided else []
        notes += self.kinds.check(masks, str(self.folder))
        if self.passed_over:
            first = self.passed_over[0]
            notes.append(
                f"{len(self.passed_over)} label maps are passed over: their photo has another (first: {first})"
            )
        if others := self._other_pictures():
            notes.append(
                f"{len(others)} pictures beside label maps are not read: they are not PNG files (first: {others[0]})"
            )
        return notes

    def _other_pictures(self) -> list[Path]:
        """Pictures of other formats where maps lie, unless photos lie there too."""
        folder, photos = self.folder.resolve(), self.finder.folder.resolve()
        places = {path.parent for path in self.maps}
        if photos.is_relative_to(folder):
            places = {place for place in places if not (folder / place).is_relative_to(photos)}
        pictures = list_photos([self.folder]).photos if places else []
        return [path for path in pictures if path.suffix.lower() != ".png" and path.parent in places]

    def rows(self, progress: bool) -> Iterator[TableRow]:
        """Raises UserError where a map has a value that no class has."""
        with ThreadPoolExecutor(cores()) as pool:
            read = prefetch(pool, lambda found: self._rows_of_map(*found), self._found(), limit=16)
            for _, future in tqdm(read, "reading label maps", len(self.maps), disable=not progress, leave=False):
                yield from future.result()

    def _found(self) -> Iterator[tuple[int, Path, FoundPhoto]]:
        """(number, map, photo) of the first map of each photo, or of all where each shows a part of the labels."""
        taken: set[Path] = set()
        for number, path in enumerate(self.maps, 1):
            photo, is_part = self._photo_of(path)
            if photo.path in taken and not is_part:
                self.passed_over.append(path)
            else:
                taken.add(photo.path)
                yield number, path, photo

    def _photo_of(self, path: Path) -> tuple[FoundPhoto, bool]:
        """The photo of a map, and whether it may have others."""
        if isinstance(self.labels, label_studio.Tags):
            return self.labels.photo_of(path, self.finder), True
        name = path.with_suffix("").as_posix()
        for spelling in (name, *self._spellings(name)):
            photo = self.finder.find(spelling)
            if photo.fault != MISSING_PHOTO:
                return photo, spelling != name and bool(PERSON.search(name))
        return self.finder.find(name), False

    def _spellings(self, name: str) -> Iterator[str]:
        """What the photo of a map may be called: without a word for labels, the end that all maps share, or people."""
        yield from (name.removesuffix(ending) for ending in self.shared_endings)
        yield ENDING.sub("", name)
        yield BEGINNING.sub(r"\1", name)
        yield PERSON.sub("", name)

    def _rows_of_map(self, number: int, path: Path, photo: FoundPhoto) -> list[TableRow]:
        """A row for each value of a label map; or one, of a fault or of a photo without clothes."""
        runs: dict[int, np.ndarray] = {}

        def fill(row: TableRow) -> None:
            values = self.labels.read_map(self.folder, path) if self.labels else read_label_map(self.folder / path)
            runs.update(runs_of_values(values))
            if unknown := runs.keys() - self.categories.keys():
                names = self.classes.names
                raise UserError(
                    f"{self.folder / path} has the value {min(unknown)}, but there are {len(names)} classes, 0 to "
                    f"{len(names) - 1}: {', '.join(names)}; for maps with other values give a class map, such as those "
                    "in recipes/class_maps"
                )
            row.place(values.shape, "label map of another shape than its photo", "the label map has")

        row = TableRow.checked(number, str(path), photo, fill)
        return [row] if row.fault else [replace(row, category=value, runs=runs[value]) for value in runs] or [row]


def _shared_endings(names: list[str]) -> list[str]:
    """Endings that begin with a separator and that all names have, if there are several: the shortest first."""
    shared = os.path.commonprefix([name[::-1] for name in names])[::-1] if len(names) > 1 else ""
    return [shared[match.start() :] for match in re.finditer(r"[-_. ]", shared)][::-1]


def runs_of_values(values: np.ndarray) -> dict[int, np.ndarray]:
    """Runs, as parse_rle gives them, of each value of a label map (H x W) but 0."""
    down_columns = values.T.ravel()
    edges = np.concatenate(([0], np.flatnonzero(down_columns[1:] != down_columns[:-1]) + 1, [len(down_columns)]))
    value_of_run = down_columns[edges[:-1]]
    runs = np.stack((edges[:-1], edges[1:]), 1).astype(np.int32)
    return {value: runs[value_of_run == value] for value in np.unique(value_of_run).tolist() if value}
