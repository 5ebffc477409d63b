"""Label Studio's export of brush labels as PNG: for each tag of a task one map of 0 and 255."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data.labels.label_map_values import read_label_map
from data.labels.photo_finder import MISSING_PHOTO, FoundPhoto, PhotoFinder

# task-1-annotation-2-by-me@example.com-tag-Upper body-0.png: of a task, the tag of the label, the label, which of it
NAME = re.compile(r"task-(\d+)-annotation-[^-]*-by-[^-]*-(.+)-\d+")
LARGEST_EXPORT = 500_000_000  # bytes


@dataclass
class Tags:
    """names: of the labels by number, from 1 on. images: name of the photo by task, from an export as JSON."""

    names: dict[int, str]
    images: dict[str, str]

    def read_map(self, folder: Path, path: Path) -> np.ndarray:
        """Label numbers of a map, H x W, 0 for background. Raises LabelError."""
        number = next(number for number, name in self.names.items() if name == _label(path))
        return np.where(read_label_map(folder / path) > 127, number, 0)

    def photo_of(self, path: Path, finder: PhotoFinder) -> FoundPhoto:
        task = NAME.fullmatch(path.stem)[1]
        for name in (self.images.get(task), f"task-{task}", task):
            if name and (photo := finder.find(name)).fault != MISSING_PHOTO:
                return photo
        where = "Label Studio's names hold the task, not the photo: put its export as JSON beside the maps"
        return replace(finder.find(f"task-{task}"), detail=where)


def read(folder: Path, maps: list[Path]) -> Tags | None:
    """The tags of the maps in a folder; None where they have other names than Label Studio gives."""
    if not all(NAME.fullmatch(path.stem) for path in maps):
        return None
    names = dict(enumerate(sorted({_label(path) for path in maps}), 1))
    return Tags(names, _images(folder))


def _label(path: Path) -> str:
    words = NAME.fullmatch(path.stem)[2]
    return words.partition("-")[2] or words


def _images(folder: Path) -> dict[str, str]:
    """Name of the photo of each task, from all exports as JSON in a folder."""
    images: dict[str, str] = {}
    for path in sorted(filter(Path.is_file, folder.glob("*.json"))):  # a pipe or a device would never end
        try:
            tasks = json.loads(path.read_bytes()) if path.stat().st_size < LARGEST_EXPORT else None
        except (OSError, ValueError, RecursionError):
            continue
        for task in tasks if isinstance(tasks, list) else []:
            data = task.get("data") if isinstance(task, dict) else None
            names = [name for name in data.values() if isinstance(name, str)] if isinstance(data, dict) else []
            if names:
                images[str(task.get("id"))] = data["image"] if isinstance(data.get("image"), str) else names[0]
    return images
