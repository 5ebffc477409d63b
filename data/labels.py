"""The labels of a data set, whichever of the known formats they are in."""

from collections.abc import Callable

from data.classes import ClassTable
from data.imaterialist_table import read_table
from data.label_table import LabelTable, TableRow


def read_labels(
    df_path: str,
    image_folder: str,
    classes: ClassTable,
    max_photos: float = float("inf"),
    progress: bool = False,
    watch: Callable[[TableRow], None] | None = None,
) -> LabelTable:
    """Labels from a table (CSV), see LabelTable.collect. Raises UserError."""
    return read_table(df_path, image_folder, classes, max_photos, progress, watch)
