"""The labels of a data set, whichever of the known formats they are in."""

from collections.abc import Callable
from pathlib import Path

from data.classes import ClassTable
from data.labels.coco import read_coco
from data.labels.imaterialist import read_table
from data.labels.maps import read_folder
from data.labels.table import LabelTable, TableRow


def read_labels(
    df_path: str,
    image_folder: str,
    classes: ClassTable,
    max_photos: float = float("inf"),
    progress: bool = False,
    watch: Callable[[TableRow], None] | None = None,
) -> LabelTable:
    """The labels at ``df_path``: a folder of label maps, a COCO file (.json), or else a table (CSV).

    See LabelTable.collect. Raises UserError.
    """
    path = Path(df_path)
    if path.is_dir():
        return read_folder(df_path, image_folder, classes, max_photos, progress, watch)
    read = read_coco if path.suffix.lower() == ".json" else read_table
    return read(df_path, image_folder, classes, max_photos, progress, watch)
