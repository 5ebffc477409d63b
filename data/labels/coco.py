"""Labels in COCO's format (JSON): polygons and run-lengths, checked annotation by annotation."""

import gzip
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from data.classes import ClassTable, folded
from data.labels.categories import Categories
from data.labels.coco_masks import highest_coordinate, runs_of, to_number
from data.labels.photo_finder import MOST_PIXELS, FoundPhoto, PhotoFinder
from data.labels.rle import LabelError
from data.labels.table import TableRow
from utils.documents import parse_json
from utils.errors import UserError, one_line

LARGEST_FILE, CHUNK = 4_000_000_000, 2**24  # bytes; as Python objects it is several times as large
# Coordinates look like percent where none is over this, though no side of a photo has fewer pixels than the other.
PERCENT, LARGER_THAN_PERCENT = 101, 200
Id = int | str  # of an image or a category, as _id gives it
Numbered = tuple[int, dict]  # an annotation and its place in the file, from 1 on


class CocoFile:
    """The annotations of a COCO file, photos in the order of its images.

    An image without annotations is a photo without clothes, unless there are annotations that belong to no image.
    """

    unit = "annotation"
    grouped = True

    def __init__(self, df_path: str, image_folder: str, classes: ClassTable):
        """Raises UserError where folder or file are missing, where the file is not COCO in pixels; see Categories."""
        self.finder = PhotoFinder(image_folder)
        content = _load(df_path)
        self.images = list(_distinct_images(content["images"]))
        self.annotations, self.orphans = _by_image(content["annotations"], self.images)
        if self._is_percent(content["annotations"]):
            raise UserError(f"no coordinate in {df_path} is over 100: they look like percent; write them in pixels")
        self.number_of, names = _categories(content.get("categories"), df_path)
        if any(names.values()):
            kinds = Categories.by_name(classes, names, df_path)
            self.mapping = kinds.as_text()
        else:
            kinds = Categories.by_imaterialist(classes)
            self.number_of = {number: number for number in kinds.table}
            self.mapping = ["the categories have no names: their ids are taken as iMaterialist's, or the class map's"]
        self.categories = kinds.table
        given = [each for each in content["annotations"] if isinstance(each, dict) and each.get("segmentation")]
        masks = Counter(number for each in given if (number := self._category(each)) is not None)
        self.mapping += kinds.check(masks, df_path)
        self.without_annotations: set[Path] = set()

    def notes(self, masks: Counter[int]) -> list[str]:
        bare = len(self.without_annotations)
        said = [f"{bare} photos have no annotations and are taken as without clothes"] if bare else []
        return self.mapping + said

    def rows(self, progress: bool) -> Iterator[TableRow]:
        for image in tqdm(self.images, desc="checking labels", unit="photo", disable=not progress, leave=False):
            key, name = _image_id(image), image.get("file_name")
            if key is None or not isinstance(name, str) or not name:
                yield self._without_photo(0, str(image.get("id")), "image without id and file_name")
                continue
            photo, annotations = self.finder.find(name), self.annotations.get(key)
            if not annotations:
                yield TableRow.checked(0, name, photo, self._fill_without)
                continue
            size = _stated_size(image) or photo.size
            for number, annotation in annotations:
                yield TableRow.checked(number, name, photo, partial(self._fill, annotation, size))
        for number, annotation in self.orphans:
            image = annotation.get("image_id") if isinstance(annotation, dict) else annotation
            yield self._without_photo(number, f"image {image}", "annotation without an image in the file")

    def _fill_without(self, row: TableRow) -> None:
        if self.orphans:
            raise LabelError("photo without annotations, which may be among those without an image")
        row.has_no_clothes()
        self.without_annotations.add(row.photo.path)

    def _fill(self, annotation: dict, size: tuple[int, int], row: TableRow) -> None:
        row.category = self._category(annotation)
        if row.category is None:
            raise LabelError("unknown category_id", repr(annotation.get("category_id"))[:40])
        row.place(size, "Height and Width that disagree with the photo", "the file says")
        row.runs = runs_of(annotation.get("segmentation"), *size)

    def _category(self, annotation: dict) -> int | None:
        value = annotation.get("category_id")
        keys = [_id(value), folded(value) if isinstance(value, str) else None]
        return next((self.number_of[key] for key in keys if key in self.number_of), None)

    def _is_percent(self, annotations: list) -> bool:
        """Whether coordinates look like percent: none of any polygon is over 100, and all photos are far larger."""
        highest = 0.0
        for annotation in annotations:
            if isinstance(annotation, dict):
                highest = max(highest, highest_coordinate(annotation.get("segmentation")))
            if highest > PERCENT:
                return False
        if highest <= 1:
            return False
        sizes = [_stated_size(image) or self.finder.find(str(image.get("file_name"))).size for image in self.images]
        return min((min(size) for size in sizes if size), default=0) >= LARGER_THAN_PERCENT

    def _without_photo(self, number: int, name: str, fault: str) -> TableRow:
        return TableRow(number, name, FoundPhoto(None, fault=fault), fault=fault)


def _load(df_path: str) -> dict:
    """The content of a file, with the lists images and annotations. Raises UserError."""
    try:
        with Path(df_path).open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with (gzip.open if packed else open)(df_path, "rb") as file:
            text = b"".join(islice(iter(partial(file.read, CHUNK), b""), LARGEST_FILE // CHUNK + 1))
        if len(text) > LARGEST_FILE:
            raise UserError(f"{df_path} is larger than {LARGEST_FILE / 1e9:g} GB; split it")
        content = parse_json(text)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"cannot unpack {df_path}: {one_line(error)}") from None
    except OSError as error:
        raise UserError(f"cannot read the label file {df_path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{df_path} is not valid JSON: {one_line(error)}") from None
    except MemoryError:
        raise UserError(f"{df_path} does not fit into memory; split it") from None
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in ("images", "annotations")):
        raise UserError(f"{df_path} is not a COCO file: it has no lists images and annotations (docs/data.md)")
    return content


def _categories(entries: object, df_path: str) -> tuple[dict[Id, int], dict[int, str]]:
    """(number by id and by name, name by number) of a file's categories. Raises UserError.

    An id that is not a number gets one above all others. A name is an id as well, where no category has it as one.
    """
    name_of: dict[Id, str] = {}
    for entry in entries if isinstance(entries, list) else [entries] if entries else []:
        key = _id(entry.get("id")) if isinstance(entry, dict) else None
        if key is None:
            raise UserError(f"{df_path} is not a COCO file: each of its categories needs an id")
        name = entry["name"] if isinstance(entry.get("name"), str) else ""
        if name_of.setdefault(key, name) != name:
            raise UserError(f"{df_path} has two categories with the id {key}: {name_of[key]} and {name}")
    spare = 1 + max((key for key in name_of if isinstance(key, int)), default=0)
    number_of = {key: key if isinstance(key, int) else spare + place for place, key in enumerate(name_of)}
    names = {number_of[key]: name or (key if isinstance(key, str) else "") for key, name in name_of.items()}
    return {folded(name): number for number, name in names.items() if name} | number_of, names


def _distinct_images(images: list) -> Iterator[dict]:
    """The images, each once. Raises UserError where two share an id."""
    name_of: dict[Id, object] = {}
    for image in images:
        image = image if isinstance(image, dict) else {}
        key, name = _image_id(image), image.get("file_name")
        if key is None or key not in name_of:
            yield image
        elif name_of[key] != name:
            raise UserError(f"the images {name_of[key]} and {name} have the same id, {key}")
        if key is not None:
            name_of[key] = name


def _by_image(annotations: list, images: list[dict]) -> tuple[dict[Id, list[Numbered]], list[Numbered]]:
    """(number, annotation) of those of each image, and of those that belong to no image.

    An image is meant by its id, or else by its file name, with or without folders and suffix; by a number in place of
    the name only where no annotation has an id that an image has.
    """
    known = {_image_id(image) for image in images}
    of_image: dict[Id, list[Numbered]] = {}
    others: list[Numbered] = []
    for number, annotation in enumerate(annotations, 1):
        key = _id(annotation.get("image_id")) if isinstance(annotation, dict) else None
        if key is not None and key in known:
            of_image.setdefault(key, []).append((number, annotation))
        else:
            others.append((number, annotation))
    if not others:
        return of_image, []
    by_name: dict[Id, set[Id]] = {}
    for image in images:
        if (key := _image_id(image)) is not None:
            for spelling in [*_spellings(image.get("file_name")), str(key).casefold()]:
                by_name.setdefault(spelling, set()).add(key)
    numbers_are_names, orphans = not of_image, []
    for number, annotation in others:
        name = annotation.get("image_id") if isinstance(annotation, dict) else None
        is_name = isinstance(_id(name), str) or (numbers_are_names and _id(name) is not None)
        found = [keys for spelling in _spellings(name) if len(keys := by_name.get(spelling, ())) == 1]
        if is_name and found:
            of_image.setdefault(*found[0], []).append((number, annotation))
        else:
            orphans.append((number, annotation))
    return of_image, orphans


def _stated_size(image: dict) -> tuple[int, int] | None:
    """(height, width) that the file states of an image."""
    sides = [to_number(image.get(side)) for side in ("height", "width")]
    known = all(side is not None and 1 <= side <= MOST_PIXELS for side in sides)
    return (int(sides[0]), int(sides[1])) if known else None


def _image_id(image: dict) -> Id | None:
    return _id(image.get("file_name") if image.get("id") is None else image["id"])


def _spellings(file_name: object) -> list[str]:
    """A name, and without its folders, and without its suffix; numbers without zeros in front."""
    path = PurePosixPath(str(file_name).replace("\\", "/"))
    return [str(_id(part)).casefold() for part in (str(path), path.name, path.stem)]


def _id(value: object) -> Id | None:
    """An id as ids are compared: a whole number, whether written as number or as text, or else text; or None."""
    number = to_number(value)
    if number is not None and number == int(number):
        return int(number)
    return value.strip() or None if isinstance(value, str) else None
