"""CVAT's export of segmentation masks: label maps in colours, and labelmap.txt, which says what they mean."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.classes import folded
from data.labels.label_map_values import Colour, open_map, read_label_map, values_of_colours
from data.labels.rle import LabelError
from utils.errors import UserError, one_line

CLASSES = "SegmentationClass"  # folder of the maps; those of single objects lie beside it


@dataclass
class LabelMap:
    """names: of the labels by number, from 1 on, without background. numbers: of all labels, in the file's order."""

    names: dict[int, str]
    number_of: dict[Colour, int]
    numbers: list[int]

    def read_map(self, folder: Path, path: Path) -> np.ndarray:
        """Label numbers of a map, H x W, 0 for background. Raises LabelError."""
        image, _ = open_map(folder / path)
        if image.mode == "L":  # one channel: places in labelmap.txt
            values = read_label_map(folder / path)
            if values.max() >= len(self.numbers):
                raise LabelError("label map with a value that is not in labelmap.txt", str(values.max()))
            return np.array(self.numbers)[values]
        return values_of_colours(np.asarray(image.convert("RGB")), self.number_of)


def read(folder: Path) -> LabelMap | None:
    """What labelmap.txt says in a folder, or beside its SegmentationClass; None without one. Raises UserError."""
    places = [folder, folder.parent] if folder.name == CLASSES else [folder]
    path = next((path for place in places if (path := place / "labelmap.txt").is_file()), None)
    if not path:
        return None
    labels: list[tuple[str, Colour]] = []
    try:
        for line in path.read_text(encoding="utf-8-sig").splitlines():
            if line.strip() and not line.startswith("#"):
                name, colour, *_ = line.rsplit(":", 3)  # label:colour:parts:actions
                red, green, blue = map(int, colour.split(","))
                labels.append((name, (red, green, blue)))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not CVAT's list of labels and colours: {one_line(error)}") from None
    numbers = [0 if folded(name) == "background" else number for number, (name, _) in enumerate(labels, 1)]
    names = {number: name for number, (name, _) in zip(numbers, labels, strict=True) if number}
    colours = {colour: number for number, (_, colour) in zip(numbers, labels, strict=True)}
    return LabelMap(names, {(0, 0, 0): 0} | colours, numbers)
