"""report.csv and coco.json of a whole run, made from the JSON result of each of its photographs."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from utils.errors import UserError
from utils.files import write_atomically, write_csv

REPORT, COCO = "report.csv", "coco.json"
COLUMNS = ("file", "warning", "width", "height", "share", "confidence")
SEAL = ', "info": {{"description": "masks predicted by infer.py", "sha256": "{}"}}}}\n'  # of all that is before it
HEADER_BYTES = 1 << 20  # of a report's first line, at most
FAILED = "failed"  # the warning of a photo that has no result


def refuse_foreign(path: Path) -> None:
    """Raise UserError where a file would be replaced that is not of an earlier run, such as corrected labels.

    A coco.json must be as it was written; a report must have a report's columns.
    """
    try:
        ours = (_is_report if path.suffix == ".csv" else _is_sealed)(path)
    except FileNotFoundError:
        return
    except OSError:
        ours = False
    if not ours:
        raise UserError(
            f"{path} was not written by infer.py, or was changed since; move it, or choose another --result_dir"
        )


def _is_report(path: Path) -> bool:
    """Whether the columns are those of a report, whatever the classes."""
    with path.open("rb") as file:
        columns = file.readline(HEADER_BYTES).decode(errors="replace").strip().split(",")
    others = columns[len(COLUMNS) :]
    return tuple(columns[: len(COLUMNS)]) == COLUMNS and all(
        name.startswith(("share_", "confidence_")) for name in others
    )


def _is_sealed(path: Path) -> bool:
    """Whether a coco.json ends with the digest of the rest, and so is as infer.py wrote it."""
    length = len(SEAL.format("0" * 64))
    result, left = hashlib.sha256(), path.stat().st_size - length
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(left, 1 << 20))):
            result.update(block)
            left -= len(block)
        return file.read() == SEAL.format(result.hexdigest()).encode()


def write_report(path: Path, results: dict[str, Path | None], class_names: tuple[str, ...]) -> None:
    """Write one row for each photograph: COLUMNS, then share and confidence of each class. Raises UserError.

    results: the JSON result by the photo's name; None for a photo that failed. class_names: by label value.
    """
    header = [*COLUMNS, *(f"{kind}_{name}" for name in class_names[1:] for kind in ("share", "confidence"))]
    rows = [
        _row(name, _read(result, class_names)) if result else [name, FAILED, *[""] * (len(header) - 2)]
        for name, result in results.items()
    ]
    write_csv(path, [header, *rows])


def _row(name: str, content: dict) -> list[object]:
    classes = content["classes"].values()
    area = sum(entry["area"] for entry in classes)
    known = [(entry["area"], entry["confidence"]) for entry in classes if entry["confidence"] is not None]
    total = sum(size for size, _ in known)
    mean = round(sum(size * confidence for size, confidence in known) / total, 4) if total else ""
    size = content["width"], content["height"]
    cells = [cell for entry in classes for cell in (entry["share"], entry["confidence"])]
    row = [name, content["warning"], *size, round(area / (size[0] * size[1]), 6), mean, *cells]
    return ["" if cell is None else cell for cell in row]


def write_coco(path: Path, results: dict[str, Path | None], class_names: tuple[str, ...]) -> None:
    """Write the masks as COCO's images, categories and annotations: one for each class on a photo, as polygons.

    A photo without clothes is an image without annotations; one that failed is left out. Arguments and errors as for
    write_report.
    """
    write_atomically(path, lambda file: _write_coco(file, results, class_names))


def _write_coco(file: BinaryIO, results: dict[str, Path | None], class_names: tuple[str, ...]) -> None:
    categories = [{"id": value, "name": name} for value, name in enumerate(class_names[1:], 1)]
    seal = hashlib.sha256()

    def write(text: str) -> None:
        file.write(text.encode())
        seal.update(text.encode())

    write(f'{{"categories": {json.dumps(categories)}, "annotations": [')
    images, count = [], 0
    for name, result in results.items():
        if not result:
            continue
        content = _read(result, class_names)
        size = {"width": content["width"], "height": content["height"]}
        images.append({"id": len(images) + 1, "file_name": name, **size})
        for annotation in _annotations(content):
            count += 1
            where = {"id": count, "image_id": len(images)}
            write(("\n" if count == 1 else ",\n") + json.dumps(where | annotation))
    write(f'\n], "images": {json.dumps(images)}')
    file.write(SEAL.format(seal.hexdigest()).encode())


def _annotations(content: dict) -> Iterator[dict]:
    for value, entry in enumerate(content["classes"].values(), 1):
        if entry["present"]:
            left, top, right, bottom = entry["box"]
            yield {
                "category_id": value,
                "segmentation": entry["polygons"],
                "bbox": [left, top, right - left, bottom - top],
                "area": entry["area"],
                "score": entry["confidence"],
                "iscrowd": 0,
            }


def _read(path: Path, class_names: tuple[str, ...]) -> dict:
    """A JSON result with these classes. Raises UserError."""
    try:
        content = json.loads(path.read_bytes())
        fits = tuple(content["classes"]) == class_names[1:] and "warning" in content
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        fits = False
    if not fits:
        raise UserError(f"{path} is from an earlier version or another checkpoint; run again without --skip_existing")
    return content
