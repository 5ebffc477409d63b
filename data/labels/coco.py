"""Labels in COCO's format (JSON): polygons and run-lengths, checked annotation by annotation."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.classes import CLOTHES, ClassTable, folded, imaterialist_category
from data.labels.photo_finder import MOST_PIXELS, FoundPhoto, PhotoFinder, disagreement, fit
from data.labels.table import LabelTable, TableRow
from utils.errors import UserError, one_line

LARGEST_FILE = 4e9  # bytes; as Python objects it is several times as large
LONGEST_OUTLINE = 1_000_000  # pixels of a polygon; the library's time and memory grow with it
NAMED = 50  # categories listed by name before "and N more"


class SegmentationError(ValueError):
    """A segmentation that cannot be used; the message names the kind of fault."""


def read_coco(
    df_path: str,
    image_folder: str,
    classes: ClassTable,
    max_photos: float = math.inf,
    progress: bool = False,
    watch: Callable[[TableRow], None] | None = None,
) -> LabelTable:
    """The usable annotations of a COCO file, photographs in the order of its images; see LabelTable.collect.

    An image without annotations is a photo without clothes. Raises UserError when folder or file are missing, when
    the file is not COCO, and when nothing is usable.
    """
    finder = PhotoFinder(image_folder)
    images, annotations, names = _load(df_path)
    value_of = map_categories(classes, names, df_path)
    without: set[Path] = set()

    def rows() -> Iterator[TableRow]:
        usable: set[Path] = set()
        for row in _rows(images, annotations, finder, set(value_of), progress):
            if row.photo not in usable and len(usable) >= max_photos:
                return
            if not row.fault:
                usable.add(row.photo)
                if row.category is None:
                    without.add(row.photo)
            yield row

    categories = {number: (names.get(number, ""), value) for number, value in value_of.items()}
    source = f"{df_path} with photographs in {image_folder}"
    table = LabelTable.collect(rows(), categories, source, max_photos, watch, unit="annotation")
    table.notes = _mapping_as_text(classes, categories)
    if without:
        table.notes.append(f"{len(without)} photographs have no annotations and are taken as without clothes")
    return table


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


def _rows(
    images: list, annotations: list, finder: PhotoFinder, known_ids: set[int], progress: bool
) -> Iterator[TableRow]:
    """The annotations of each image in turn, each with its runs or with the first fault found in it."""
    of_image: dict[object, list[tuple[int, object]]] = {}
    for number, annotation in enumerate(annotations, 1):
        image = annotation.get("image_id") if isinstance(annotation, dict) else None
        of_image.setdefault(image if isinstance(image, int | str) else None, []).append((number, annotation))
    seen: dict[object, dict] = {}
    for image in tqdm(images, desc="checking labels", unit="photo", disable=not progress, leave=False):
        entry = image if isinstance(image, dict) else {}
        key, name = entry.get("id"), entry.get("file_name")
        if not isinstance(key, int | str) or not isinstance(name, str) or not name:
            photo, name = _nowhere(finder, "image without id and file_name"), str(key)
            yield TableRow.of(0, name, photo)
            continue
        if seen.setdefault(key, entry) is not entry:
            if seen[key].get("file_name") != name:
                raise UserError(f"the images {seen[key].get('file_name')} and {name} have the same id, {key}")
            continue
        photo = finder.find(name)
        size = entry.get("height"), entry.get("width")
        known_size = all(_is_number(side) and 1 <= side <= MOST_PIXELS for side in size)
        stated = tuple(map(int, size)) if known_size else photo.size
        numbered = of_image.pop(key, None)
        if numbered is None:
            row = TableRow.of(0, name, photo)
            if not row.fault:
                row.stated, row.fit = photo.size, fit(photo, photo.size)._replace(settled=True)
            yield row
        for number, annotation in numbered or []:
            yield _check(TableRow.of(number, name, photo), annotation, photo, stated, known_ids)
    for key, numbered in of_image.items():
        photo = _nowhere(finder, "annotation without an image in the file")
        for number, _ in numbered:
            yield TableRow.of(number, f"image {key}", photo)


def _nowhere(finder: PhotoFinder, fault: str) -> FoundPhoto:
    return FoundPhoto(finder.folder / "(unknown)", fault=fault)


def _check(
    row: TableRow, annotation: dict, photo: FoundPhoto, stated: tuple[int, int], known_ids: set[int]
) -> TableRow:
    category = annotation.get("category_id")
    if row.fault:
        return row
    if type(category) is not int or category not in known_ids:
        row.fault = "unknown category_id"
    elif not (placed := fit(photo, stated)):
        row.fault, row.detail = (
            "Height and Width that disagree with the photo",
            disagreement(photo, stated, "the file says"),
        )
    else:
        try:
            row.runs = runs_of(annotation.get("segmentation"), *stated)
            row.category, row.stated, row.fit = category, stated, placed
        except SegmentationError as error:
            row.fault = str(error)
    return row


def runs_of(segmentation: object, height: int, width: int) -> np.ndarray:
    """Runs, as parse_rle gives them, of an annotation's polygons or run-lengths. Raises SegmentationError."""
    if not segmentation:
        raise SegmentationError("annotation without a segmentation")
    if isinstance(segmentation, dict):
        counts = segmentation.get("counts")
        if segmentation.get("size") != [height, width]:
            raise SegmentationError("run-lengths of another size than the image")
        if isinstance(counts, str):
            return _runs(_unpacked(counts), height * width)
        if isinstance(counts, list) and all(map(_is_count, counts)):
            if sum(counts) != height * width:  # before they go into 64 bits
                raise SegmentationError("run-lengths that do not make up the image")
            return _runs(np.array(counts, np.int64), height * width)
        raise SegmentationError("run-lengths that are not numbers")
    if isinstance(segmentation, list):
        return _polygon_runs(segmentation, height, width)
    raise SegmentationError("segmentation that is neither polygons nor run-lengths")


def _runs(counts: np.ndarray, area: int) -> np.ndarray:
    """From COCO's counts, of pixels outside and inside in turn, down the columns. Raises SegmentationError."""
    if (counts < 0).any() or counts.sum() != area:
        raise SegmentationError("run-lengths that do not make up the image")
    edges = np.cumsum(counts)
    end = edges[1::2]
    return np.stack((edges[0::2][: len(end)], end), 1).astype(np.int32)


def _unpacked(text: str) -> np.ndarray:
    """Counts of compressed run-lengths: int64. Raises SegmentationError.

    Each character holds 5 bits, the lowest first, and whether more follow. From the fourth count on, what is stored is
    the difference from the last but one.
    """
    code = np.frombuffer(text.encode("ascii", "replace"), np.uint8).astype(np.int64) - 48
    last = np.flatnonzero(code & 32 == 0)
    first = np.concatenate(([0], last[:-1] + 1))
    whole = text.isascii() and len(last) and last[-1] == len(code) - 1
    # 7 characters are 35 bits; an image has no more pixels than 31 bits count.
    if not whole or code.min() < 0 or code.max() > 63 or (length := last - first + 1).max() > 7:
        raise SegmentationError("compressed run-lengths that cannot be unpacked")
    place = np.arange(len(code)) - np.repeat(first, length)
    counts = np.add.reduceat((code & 31) << (5 * place), first)
    counts -= np.where(code[last] & 16, np.left_shift(1, 5 * length), 0)  # the highest bit is the sign
    counts[1::2], counts[2::2] = np.cumsum(counts[1::2]), np.cumsum(counts[2::2])
    return counts


def _polygon_runs(rings: list, height: int, width: int) -> np.ndarray:
    """Runs of the union of rings, each x, y, x, y, ... in pixels. Raises SegmentationError.

    Everything is checked before it reaches the library: it hangs on a coordinate that is not a number, crashes on a
    huge one, and takes a ring of four numbers for a box.
    """
    if not isinstance(rings[0], list):  # one ring, without the list around it
        rings = [rings]
    # The others have no area.
    rings = [ring for ring in (_ring(ring, height, width) for ring in rings) if len(ring) >= 3]
    if not rings:
        raise SegmentationError("polygon of fewer than three points")
    if sum(np.abs(np.diff(ring, axis=0, append=ring[:1])).max(1).sum() for ring in rings) > LONGEST_OUTLINE:
        raise SegmentationError(f"polygon with an outline of more than {LONGEST_OUTLINE} pixels")
    try:
        from pycocotools import mask  # here, because nothing else needs it
    except ImportError:
        raise UserError("polygons in a COCO file need pycocotools: pip install 'pycocotools>=2.0.8'") from None
    merged = mask.merge(mask.frPyObjects([ring.ravel().tolist() for ring in rings], height, width))
    return _runs(_unpacked(merged["counts"].decode("ascii")), height * width)


def _ring(ring: object, height: int, width: int) -> np.ndarray:
    """Points of a polygon: P x 2 float64 (x, y). Raises SegmentationError."""
    try:
        numbers = np.array(ring if isinstance(ring, list) else None)
    except (ValueError, OverflowError):  # lists of different lengths
        numbers = np.array(None)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf":
        raise SegmentationError("polygon that is not a list of numbers")
    if len(numbers) % 2:
        raise SegmentationError("polygon of an odd count of numbers")
    points = numbers.astype(np.float64).reshape(-1, 2)
    size = np.array([width, height])
    if not ((points >= -size) & (points <= 2 * size)).all():  # not a number is not within either
        raise SegmentationError("polygon that lies far outside the image")
    return points


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0
