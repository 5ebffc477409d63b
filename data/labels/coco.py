"""Labels in COCO's format (JSON): polygons and run-lengths, checked annotation by annotation."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from pycocotools import mask
from tqdm import tqdm

from data.classes import CLOTHES, ClassTable, folded, imaterialist_category
from data.labels.photo_finder import MOST_PIXELS, FoundPhoto, PhotoFinder
from data.labels.rle import LabelError
from data.labels.table import TableRow
from utils.errors import UserError, one_line

LARGEST_FILE = 4e9  # bytes; as Python objects it is several times as large
LONGEST_OUTLINE = 1_000_000  # pixels of a polygon; the library's time and memory grow with it
NAMED = 50  # categories listed by name before "and N more"


class CocoFile:
    """The annotations of a COCO file, photographs in the order of its images.

    An image without annotations is a photo without clothes.
    """

    unit = "annotation"
    grouped = True

    def __init__(self, df_path: str, image_folder: str, classes: ClassTable):
        """Raises UserError where folder or file are missing or the file is not COCO, and see map_categories."""
        self.finder, self.classes = PhotoFinder(image_folder), classes
        self.images, self.annotations, names = _load(df_path)
        value_of = map_categories(classes, names, df_path)
        self.categories = {number: (names.get(number, ""), value) for number, value in value_of.items()}
        self.without_annotations: set[Path] = set()

    def notes(self) -> list[str]:
        notes = _mapping_as_text(self.classes, self.categories)
        if bare := len(self.without_annotations):
            notes.append(f"{bare} photographs have no annotations and are taken as without clothes")
        return notes

    def rows(self, progress: bool) -> Iterator[TableRow]:
        """Raises UserError where two images share an id."""
        annotations = self._annotations_by_image()
        images = list(self._distinct_images())
        for image in tqdm(images, desc="checking labels", unit="photo", disable=not progress, leave=False):
            key, name = image.get("id"), image.get("file_name")
            if _is_id(key) and isinstance(name, str) and name:
                yield from self._rows_of_image(image, self.finder.find(name), annotations.pop(key, []))
            else:
                yield self._unplaced(0, str(key), "image without id and file_name")
        for key, numbered in annotations.items():
            for number, _ in numbered:
                yield self._unplaced(number, f"image {key}", "annotation without an image in the file")

    def _annotations_by_image(self) -> dict[object, list[tuple[int, dict]]]:
        """(number, annotation) of each, by image_id."""
        by_image: dict[object, list[tuple[int, dict]]] = {}
        for number, annotation in enumerate(self.annotations, 1):
            image = annotation.get("image_id") if isinstance(annotation, dict) else None
            by_image.setdefault(image if _is_id(image) else None, []).append((number, annotation))
        return by_image

    def _distinct_images(self) -> Iterator[dict]:
        """The images, each once. Raises UserError where two share an id."""
        name_of: dict[object, object] = {}
        for image in self.images:
            image = image if isinstance(image, dict) else {}
            key, name = image.get("id"), image.get("file_name")
            if not _is_id(key) or key not in name_of:
                yield image
            elif name_of[key] != name:
                raise UserError(f"the images {name_of[key]} and {name} have the same id, {key}")
            if _is_id(key):
                name_of[key] = name

    def _rows_of_image(self, image: dict, photo: FoundPhoto, annotations: list[tuple[int, dict]]) -> Iterator[TableRow]:
        size = image.get("height"), image.get("width")
        known = all(type(side) in (int, float) and 1 <= side <= MOST_PIXELS for side in size)
        size = tuple(map(int, size)) if known else photo.size
        if not annotations:
            row = TableRow.checked(0, image["file_name"], photo, TableRow.has_no_clothes)
            if not row.fault:
                self.without_annotations.add(photo.path)
            yield row
        for number, annotation in annotations:
            yield TableRow.checked(number, image["file_name"], photo, partial(self._fill, annotation, size))

    def _fill(self, annotation: dict, size: tuple[int, int], row: TableRow) -> None:
        row.category = annotation.get("category_id")
        if type(row.category) is not int or row.category not in self.categories:
            raise LabelError("unknown category_id")
        row.place(size, "Height and Width that disagree with the photo", "the file says")
        row.runs = runs_of(annotation.get("segmentation"), *size)

    def _unplaced(self, number: int, name: str, fault: str) -> TableRow:
        """A row of no known photo."""
        return TableRow(number, name, FoundPhoto(self.finder.folder / "(unknown)", fault=fault), fault=fault)


def _load(df_path: str) -> tuple[list, list, dict]:
    """(images, annotations, category name by id) of a file. Raises UserError."""
    try:
        if Path(df_path).stat().st_size > LARGEST_FILE:
            raise UserError(f"{df_path} is larger than {LARGEST_FILE / 1e9:g} GB; split it")
        content = json.loads(Path(df_path).read_bytes())
    except OSError as error:
        raise UserError(f"cannot read the label file {df_path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{df_path} is not valid JSON: {one_line(error)}") from None
    except MemoryError:
        raise UserError(f"{df_path} does not fit into memory; split it") from None
    lists = [content.get(name) for name in ("images", "annotations")] if isinstance(content, dict) else [None]
    if not all(isinstance(part, list) for part in lists):
        raise UserError(f"{df_path} is not a COCO file: it needs the lists images, annotations and categories")
    entries = content.get("categories") or []
    names = {}
    for entry in entries if isinstance(entries, list) else [None]:
        if not isinstance(entry, dict) or type(entry.get("id")) is not int:
            raise UserError(f"{df_path} is not a COCO file: each of its categories needs a whole number as id")
        name = entry.get("name") if isinstance(entry.get("name"), str) else ""
        if names.setdefault(entry["id"], name) != name:
            raise UserError(f"{df_path} has two categories with the id {entry['id']}: {names[entry['id']]} and {name}")
    return *lists, names


def map_categories(classes: ClassTable, names: dict[int, str], df_path: str) -> dict[int, int]:
    """Label value of each category of a file. names: of its categories by id; empty where it names none.

    The default classes go by the names: classes' own, and iMaterialist's, as Fashionpedia has them; only where a file
    has no names its ids are taken as iMaterialist's. A class map goes by the file's ids and names. Raises UserError
    where no category makes a class.
    """
    if not any(names.values()):
        return classes.by_category
    value_of = dict.fromkeys(names, 0)
    if classes == CLOTHES:
        own = {folded(name): value for value, name in enumerate(classes.names)}
        for number, name in names.items():
            of_imaterialist = classes.by_category.get(imaterialist_category(name), 0)
            value_of[number] = own.get(folded(name), of_imaterialist)
    else:
        for value, wanted in enumerate(classes.ids, 1):
            for category in wanted:
                value_of.update(dict.fromkeys(_matching(category, names), value))
    if not any(value_of.values()):
        raise UserError(
            f"none of the categories of {df_path} ({_listed(names.values())}) makes one of the classes "
            f"{', '.join(classes.clothes)}; set --class_map to a file that says which of them do"
        )
    return value_of


def _matching(category: int | str, names: dict[int, str]) -> list[int]:
    """Ids of the categories that a class map's entry means: by id, by name, by another name of iMaterialist's."""
    if isinstance(category, int):
        return [category] if category in names else []
    same = [number for number, name in names.items() if folded(name) == folded(category)]
    if not same and (known := imaterialist_category(category)) is not None:
        same = [number for number, name in names.items() if imaterialist_category(name) == known]
    return same


def _mapping_as_text(classes: ClassTable, categories: dict[int, tuple[str, int]]) -> list[str]:
    if not any(name for name, _ in categories.values()):
        return ["the file's categories have no names: their ids are taken as iMaterialist's, or the class map's"]
    return [
        f"{name}: {_listed(f'{c} ({number})' for number, (c, v) in categories.items() if v == value) or 'no category'}"
        for value, name in enumerate(classes.names)
    ]


def _listed(names) -> str:
    names = list(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def runs_of(segmentation: object, height: int, width: int) -> np.ndarray:
    """Runs, as parse_rle gives them, of an annotation's polygons or run-lengths. Raises LabelError."""
    if not segmentation:
        raise LabelError("annotation without a segmentation")
    if isinstance(segmentation, dict):
        counts = segmentation.get("counts")
        if segmentation.get("size") != [height, width]:
            raise LabelError("run-lengths of another size than the image")
        if isinstance(counts, str):
            return _runs(_unpacked(counts), height * width)
        if isinstance(counts, list) and all(map(_is_count, counts)):
            if sum(counts) != height * width:  # before they go into 64 bits
                raise LabelError("run-lengths that do not make up the image")
            return _runs(np.array(counts, np.int64), height * width)
        raise LabelError("run-lengths that are not numbers")
    if isinstance(segmentation, list):
        return _polygon_runs(segmentation, height, width)
    raise LabelError("segmentation that is neither polygons nor run-lengths")


def _runs(counts: np.ndarray, area: int) -> np.ndarray:
    """From COCO's counts, of pixels outside and inside in turn, down the columns. Raises LabelError."""
    if (counts < 0).any() or counts.sum() != area:
        raise LabelError("run-lengths that do not make up the image")
    edges = np.cumsum(counts)
    end = edges[1::2]
    return np.stack((edges[0::2][: len(end)], end), 1).astype(np.int32)


def _unpacked(text: str) -> np.ndarray:
    """Counts of compressed run-lengths: int64. Raises LabelError.

    Each character holds 5 bits, the lowest first, and whether more follow. From the fourth count on, what is stored is
    the difference from the last but one.
    """
    code = np.frombuffer(text.encode("ascii", "replace"), np.uint8).astype(np.int64) - 48
    last = np.flatnonzero(code & 32 == 0)
    first = np.concatenate(([0], last[:-1] + 1))
    whole = text.isascii() and len(last) and last[-1] == len(code) - 1
    # 7 characters are 35 bits; an image has no more pixels than 31 bits count.
    if not whole or code.min() < 0 or code.max() > 63 or (length := last - first + 1).max() > 7:
        raise LabelError("compressed run-lengths that cannot be unpacked")
    place = np.arange(len(code)) - np.repeat(first, length)
    counts = np.add.reduceat((code & 31) << (5 * place), first)
    counts -= np.where(code[last] & 16, np.left_shift(1, 5 * length), 0)  # the highest bit is the sign
    counts[1::2], counts[2::2] = np.cumsum(counts[1::2]), np.cumsum(counts[2::2])
    return counts


def _polygon_runs(rings: list, height: int, width: int) -> np.ndarray:
    """Runs of the union of rings, each x, y, x, y, ... in pixels. Raises LabelError.

    Everything is checked before it reaches the library: it hangs on a coordinate that is not a number, crashes on a
    huge one, and takes a ring of four numbers for a box.
    """
    if not isinstance(rings[0], list):  # one ring, without the list around it
        rings = [rings]
    # The others have no area.
    rings = [ring for ring in (_ring(ring, height, width) for ring in rings) if len(ring) >= 3]
    if not rings:
        raise LabelError("polygon of fewer than three points")
    if sum(np.abs(np.diff(ring, axis=0, append=ring[:1])).max(1).sum() for ring in rings) > LONGEST_OUTLINE:
        raise LabelError(f"polygon with an outline of more than {LONGEST_OUTLINE} pixels")
    merged = mask.merge(mask.frPyObjects([ring.ravel().tolist() for ring in rings], height, width))
    return _runs(_unpacked(merged["counts"].decode("ascii")), height * width)


def _ring(ring: object, height: int, width: int) -> np.ndarray:
    """Points of a polygon: P x 2 float64 (x, y). Raises LabelError."""
    try:
        numbers = np.array(ring if isinstance(ring, list) else None)
    except (ValueError, OverflowError):  # lists of different lengths
        numbers = np.array(None)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf":
        raise LabelError("polygon that is not a list of numbers")
    if len(numbers) % 2:
        raise LabelError("polygon of an odd count of numbers")
    points = numbers.astype(np.float64).reshape(-1, 2)
    size = np.array([width, height])
    if not ((points >= -size) & (points <= 2 * size)).all():  # not a number is not within either
        raise LabelError("polygon that lies far outside the image")
    return points


def _is_id(value: object) -> bool:
    return isinstance(value, int | str)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0
