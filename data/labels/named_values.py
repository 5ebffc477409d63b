"""Label maps whose values are named in a file beside them: Roboflow's _classes.csv, labelme's class_names.txt."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.labels.cvat import CLASSES
from data.labels.label_map_values import read_label_map
from data.labels.rle import LabelError
from utils.errors import UserError, one_line
from utils.label_values import UNKNOWN


@dataclass
class NamedValues:
    """names: of the values but 0, which is background. source: the file that has them."""

    names: dict[int, str]
    source: Path

    def read_map(self, folder: Path, path: Path) -> np.ndarray:
        """Values of a map, H x W; UNKNOWN is what labelme ignores. Raises LabelError."""
        values = read_label_map(folder / path)
        if unnamed := set(np.unique(values).tolist()) - self.names.keys() - {0, UNKNOWN}:
            raise LabelError(f"label map with a value that is not in {self.source.name}", str(min(unnamed)))
        return values


def read(folder: Path) -> NamedValues | None:
    """What the file says that lies in a folder of maps, in the folders in it (Roboflow's train, valid and test), or
    beside it where labelme wrote it; None without one. Raises UserError.
    """
    beside = [folder.parent] if folder.name.startswith(CLASSES) else []
    found = [path for place in [folder, *beside] if (path := place / "class_names.txt").is_file()]
    lists = [folder / "_classes.csv", *sorted(folder.glob("*/_classes.csv"))]
    found += [path for path in lists if path.is_file()]
    if not found:
        return None
    named = [_names(path) for path in found]
    if any(names != named[0] for names in named):
        raise UserError(f"{found[0]} and others in {folder} give the values different names; give one of its folders")
    return NamedValues({value: name for value, name in named[0].items() if value}, found[0])


def _names(path: Path) -> dict[int, str]:
    """Name by value. Raises UserError."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        if path.suffix == ".txt":  # a name on each line, background first; what is ignored has no number
            return dict(enumerate(line for line in lines if line != "__ignore__"))
        rows = [line.partition(",") for line in lines[1:]]  # after the header: Pixel Value, Class
        return {int(value): name.strip() for value, _, name in rows}
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a list of the maps' values and their names: {one_line(error)}") from None
