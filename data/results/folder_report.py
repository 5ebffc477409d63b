"""report.csv and coco.json of a whole run, made from the JSON result of each of its photographs."""

import filecmp
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import BinaryIO, TypeVar

from utils.errors import UserError
from utils.files import temporary_folder, write_atomically, write_csv

REPORT, COCO = "report.csv", "coco.json"
COLUMNS = ("file", "warning", "width", "height", "share", "confidence")
MARK = "\ufeff"  # without it Excel does not read the file as UTF-8
FAILED = "failed"  # the warning of a photo that has no result
T = TypeVar("T")


def write_summary(path: Path, results: dict[str, Path | None], class_names: tuple[str, ...]) -> Path | None:
    """Write a report (.csv) or COCO file (.json); a file with other content that was there is kept under a new name.

    results: the JSON result by the photo's name; None for a photo that failed. class_names: by label value. Returns
    where the earlier file is now, or None. Raises UserError.
    """
    write = write_report if path.suffix == ".csv" else write_coco
    with temporary_folder(path.parent) as folder:
        new = folder / path.name
        write(new, results, class_names)
        try:
            earlier = _kept(path, new)
            new.replace(path)  # killed before this, the next run finds the earlier content and writes the new one again
        except OSError as error:  # open in Excel on Windows
            raise UserError(f"cannot replace {path}: {error.strerror}") from None
    return earlier


def _kept(path: Path, new: Path) -> Path | None:
    """Move a file that may have been corrected by hand to a free name; None where there is none, or it is the same as
    ``new``. Raises UserError, and OSError where the file cannot be read."""
    if not path.exists() or filecmp.cmp(path, new, shallow=False):
        return None
    kept = next(kept for number in count(1) if _reserved(kept := path.with_stem(f"{path.stem}.{number}")))
    try:
        path.replace(kept)
    except OSError as error:
        kept.unlink()
        raise UserError(f"cannot keep {path} as {kept}: {error.strerror}") from None
    return kept


def _reserved(path: Path) -> bool:
    """Take a name by an empty file; False where there is a file already. Raises UserError."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None
    return True


def write_report(path: Path, results: dict[str, Path | None], class_names: tuple[str, ...]) -> None:
    """Write one row for each photo: COLUMNS, then share and confidence of each class. Arguments: see write_summary."""
    header = [
        MARK + COLUMNS[0],
        *COLUMNS[1:],
        *(f"{kind}_{name}" for name in class_names[1:] for kind in ("share", "confidence")),
    ]
    rows = [
        [name, *_read(result, class_names, _cells)] if result else [name, FAILED, *[""] * (len(header) - 2)]
        for name, result in results.items()
    ]
    write_csv(path, [header, *rows])


def _cells(content: dict) -> list[object]:
    classes = content["classes"].values()
    area = sum(entry["area"] for entry in classes)
    known = [(entry["area"], entry["confidence"]) for entry in classes if entry["confidence"] is not None]
    total = sum(size for size, _ in known)
    mean = round(sum(size * confidence for size, confidence in known) / total, 4) if total else ""
    size = content["width"], content["height"]
    cells = [cell for entry in classes for cell in (entry["share"], entry["confidence"])]
    row = [content["warning"], *size, round(area / (size[0] * size[1]), 6), mean, *cells]
    return ["" if cell is None else cell for cell in row]


def write_coco(path: Path, results: dict[str, Path | None], class_names: tuple[str, ...]) -> None:
    """Write the masks as COCO's images, categories and annotations: one for each class on a photo, as polygons.

    A photo without clothes is an image without annotations; one that failed is left out. Arguments: see write_summary.
    """
    categories = [{"id": value, "name": name} for value, name in enumerate(class_names[1:], 1)]
    head = {"info": {"description": "masks predicted by infer.py"}, "licenses": [], "categories": categories}

    def write(file: BinaryIO) -> None:
        file.write(f'{json.dumps(head)[:-1]}, "annotations": ['.encode())
        images, number = [], 0
        for name, result in results.items():
            if not result:
                continue
            size, annotations = _read(result, class_names, _image)
            images.append({"id": len(images) + 1, "file_name": name, **size})
            for annotation in annotations:
                number += 1
                line = json.dumps({"id": number, "image_id": len(images), **annotation})
                file.write(f"{',' if number > 1 else ''}\n{line}".encode())
        file.write(f'\n], "images": {json.dumps(images)}}}\n'.encode())

    write_atomically(path, write)


def _image(content: dict) -> tuple[dict, list[dict]]:
    """Its size and annotations."""
    annotations = []
    for value, entry in enumerate(content["classes"].values(), 1):
        if entry["present"]:
            left, top, right, bottom = entry["box"]
            annotation = {
                "category_id": value,
                "segmentation": entry["polygons"],
                "bbox": [left, top, right - left, bottom - top],
                "area": entry["area"],
                "iscrowd": 0,
            }
            known = entry["confidence"] is not None  # datumaro, and so CVAT, refuses a file with a score of null
            annotations.append(annotation | ({"score": entry["confidence"]} if known else {}))
    return {name: content[name] for name in ("width", "height")}, annotations


def _read(path: Path, class_names: tuple[str, ...], take: Callable[[dict], T]) -> T:
    """What ``take`` makes of a JSON result with these classes. Raises UserError."""
    try:
        content = json.loads(path.read_bytes())
        if tuple(content["classes"]) == class_names[1:]:
            return take(content)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (ArithmeticError, AttributeError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise UserError(f"{path} is from an earlier version or another checkpoint; run again without --skip_existing")
