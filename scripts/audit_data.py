"""Look for faults in a data set: python -m data.audit --image_folder D --df_path F (see --help)."""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from options.base_options import TableOptions, check_report_dir, option
from utils.errors import UserError, run_program


@dataclass
class AuditOptions(TableOptions):
    """Look for faults in a labelled data set before it is trained on."""

    against_image_folder: str | None = option(
        None, "photos of a second table, to find ones that are in both", metavar="FOLDER"
    )
    against_df_path: str | None = option(
        None, "labels of the second table, for example the validation's", metavar="FILE"
    )
    report_dir: str | None = option(
        None, "folder for pictures: labels over photos, pairs of duplicates", metavar="FOLDER"
    )

    def resolve(self) -> "AuditOptions":
        super().resolve()
        if (self.against_image_folder is None) != (self.against_df_path is None):
            raise UserError("a second table needs both --against_image_folder and --against_df_path")
        for photos in (self.image_folder, self.against_image_folder):
            check_report_dir(self.report_dir, photos, inside=True)
        return self


if __name__ == "__main__":
    options = AuditOptions.from_command_line()  # before the imports that take seconds

from collections import Counter

import numpy as np
from PIL import Image

from data.audit.counts import ClassCounts, RowCounts, count_classes
from data.audit.duplicates import Fingerprints, Pair, find_pairs, read_fingerprints
from data.classes import ClassTable, load_class_table
from data.labels.categories import listed
from data.labels.read import read_labels
from data.labels.table import LabelTable
from data.photos.folder import find_photos
from data.photos.open import PhotoError, open_photo
from data.results.formats import png
from data.training.datasets import EvaluationPhotos
from utils.evaluation.metrics import ConfusionMatrix
from utils.evaluation.pictures import Tile, contact_sheet, label_panel, photo_panel
from utils.files import make_writable_folder, say_replaced, write_atomically
from utils.label_values import NAMES, UNKNOWN

SAMPLES = 24  # photos, or pairs, on a contact sheet
NAMED = 10  # files listed by name before "and N more"


def main(options: AuditOptions) -> None:
    classes = load_class_table(options.class_map)
    if options.report_dir:
        make_writable_folder(Path(options.report_dir))
    rows = RowCounts()
    table = read_labels(options.df_path, options.image_folder, classes, progress=True, on_row=rows.add)
    folder = Path(options.image_folder)
    label_maps = Path(options.df_path) if Path(options.df_path).is_dir() else None
    photos_there = (folder / name for name in find_photos(folder, label_maps))
    without_row = [path for path in photos_there if path not in rows.photos]
    print(f"{options.df_path} with {options.image_folder}")
    print(rows_as_text(rows, without_row, table, classes))
    print(classes_as_text(count_classes(table, len(classes.names)), table, classes))

    tables = [table]
    if options.against_df_path:
        against = read_labels(options.against_df_path, options.against_image_folder, classes, progress=True)
        tables.append(against)
        print(f"against {options.against_df_path} with {options.against_image_folder}: {len(against)} photos")
    photos = [(each, index) for each in tables for index in range(len(each))]
    files = [each.files[index] for each, index in photos]
    fingerprints = read_fingerprints(files)
    pairs = find_pairs(fingerprints)
    labels = [compare_labels(photos[pair.first], photos[pair.second], len(classes.names)) for pair in pairs]
    print(duplicates_as_text(pairs, labels, fingerprints, files, len(table)))

    if options.report_dir:
        report = Path(options.report_dir)
        pictures = {report / "labels.png": labels_sheet(table, classes)}
        if pairs := [pair for pair in pairs if pair.first not in fingerprints.broken]:
            pictures[report / "duplicates.png"] = pairs_sheet(pairs, files, len(table))
        say_replaced(pictures)
        for path, picture in pictures.items():
            write_atomically(path, png(picture))
        print(f"pictures in {report}")


def rows_as_text(rows: RowCounts, without_row: list[Path], table: LabelTable, classes: ClassTable) -> str:
    bad = sum(table.skipped.count.values())
    lines = [
        f"rows: {rows.rows}, of which {bad} cannot be used",
        *(f"  {line}" for line in table.lines()),
        f"photos: {len(rows.photos)} in the table, {len(table)} with usable rows",
        f"photos without any row: {counted(without_row)}",
        f"photos without file: {counted([path for path, exists in rows.photos.items() if not exists])}",
        "",
        sizes_as_text(table.photo_sizes.numpy()),
        "",
        f"{'id':>3} {'category':<40}{'class':<12}{'rows':>8}{'photos':>13}",
    ]
    for category, count in sorted(rows.of_category.items()):
        name, value = table.categories[category]
        in_class = "-" if value in NAMES else classes.names[value]
        photos = len(rows.photos_of_category[category])
        lines.append(f"{category if category >= 0 else '':>3} {name:<39} {in_class:<11} {count:>8}{photos:>13}")
    return "\n".join(lines)


def sizes_as_text(sizes: np.ndarray) -> str:
    """sizes: P x 2 (height, width)."""
    smallest, middle, largest = (np.percentile(sizes, share, axis=0).astype(int) for share in (0, 50, 100))
    common = Counter(map(tuple, sizes.tolist())).most_common(3)
    return (
        f"width: {smallest[1]} to {largest[1]}, median {middle[1]}; "
        f"height: {smallest[0]} to {largest[0]}, median {middle[0]}; "
        f"most often: {', '.join(f'{w}x{h} ({n})' for (h, w), n in common)}"
    )


def classes_as_text(counts: ClassCounts, table: LabelTable, classes: ClassTable) -> str:
    masks = np.bincount(table.class_of_row.numpy(), minlength=len(classes.names))
    lines = ["", f"{'class':<16}{'masks':>8}{'photos':>13}{'of all pixels':>15}"]
    for value, name in enumerate(classes.names[1:], 1):
        share = 100 * counts.covered[value] / counts.pixels
        lines.append(f"{name:<15} {masks[value]:>8}{counts.photos[value]:>13}{share:>13.2f} %")
    lines.append(f"photos without clothes: {counts.without_clothes}")
    for pair, pixels in sorted(counts.overlap_pixels.items()):
        first, second = (classes.names[value] for value in pair)
        lines.append(f"{first} and {second} overlap: {pixels} pixels on {counts.overlap_photos[pair]} photos")
    if not counts.overlap_pixels:
        lines.append("no classes overlap")
    return "\n".join([*lines, ""])


def compare_labels(one: tuple[LabelTable, int], other: tuple[LabelTable, int], classes: int) -> ConfusionMatrix:
    """The labels of two photos, each a row of a table, against each other; the second's at the first's size."""
    (table, index), (other_table, other_index) = one, other
    first = table.label_map(index)
    second = other_table.label_map(other_index, first.shape)
    matrix = ConfusionMatrix(classes)
    matrix.update(np.where(second < classes, first, UNKNOWN), np.where(second < classes, second, 0))
    return matrix


def duplicates_as_text(
    pairs: list[Pair],
    labels: list[ConfusionMatrix],
    fingerprints: Fingerprints,
    files: list[Path],
    first_table_size: int,
) -> str:
    """labels: each pair's against each other. first_table_size: how many of the files belong to the first table."""
    lines = [f"broken: {files[row]}: {reason}" for row, reason in fingerprints.broken.items()]
    identical = sum(pair.similarity is None for pair in pairs)
    across = sum(is_across(pair, first_table_size) for pair in pairs)
    found = f"{identical} identical pair(s), {len(pairs) - identical} near-duplicate pair(s)"
    lines.append(
        f"duplicate photos: {found}" + (f"; {across} across the two tables" if first_table_size < len(files) else "")
    )
    agreement = [matrix.foreground_accuracy() for matrix in labels]  # NaN without clothes
    for pair, agreed in zip(pairs, agreement, strict=True):
        where = "in both tables" if is_across(pair, first_table_size) else "in one table"
        text = "no clothes" if np.isnan(agreed) else f"labels agree by {agreed:.2f}"
        lines.append(f"  {likeness(pair)}, {where}, {text}: {files[pair.first]} {files[pair.second]}")
    if not np.all(np.isnan(agreement)):
        pooled = ConfusionMatrix(len(labels[0].counts))
        pooled.pixels = sum(matrix.pixels for matrix in labels)
        lines.append(
            f"their labels against each other, pooled: mean IoU of the clothes {pooled.mean_foreground_iou():.3f}, "
            f"clothes against rest {pooled.foreground_iou():.3f}"
        )
    return "\n".join(lines)


def is_across(pair: Pair, first_table_size: int) -> bool:
    return pair.first < first_table_size <= pair.second


def likeness(pair: Pair) -> str:
    return "identical" if pair.similarity is None else f"near {pair.similarity:.3f}"


def counted(paths: list[Path]) -> str:
    """How many, and the first few."""
    return f"{len(paths)} ({listed(map(str, paths), NAMED)})" if paths else "0"


def labels_sheet(table: LabelTable, classes: ClassTable) -> Image.Image:
    """Photos spread evenly over the table, each beside itself under its labels."""
    photos, tiles = EvaluationPhotos(table), []
    for index in np.unique(np.linspace(0, len(table) - 1, SAMPLES).astype(int)).tolist():
        try:
            photo, label = photos[index]
        except PhotoError:
            continue  # named in the text already
        tiles.append(Tile(table.files[index].name, [photo_panel(photo), label_panel(photo, label)]))
    legend = dict(enumerate(classes.clothes, 1)) | NAMES
    return contact_sheet({f"{len(tiles)} of {len(table)} photos and their labels": tiles}, 4, legend)


def pairs_sheet(pairs: list[Pair], files: list[Path], first_table_size: int) -> Image.Image:
    """The first pairs of duplicates side by side, those across the two tables first."""
    ordered = sorted(pairs, key=lambda pair: not is_across(pair, first_table_size))[:SAMPLES]
    tiles = []
    for pair in ordered:
        where = "both tables" if is_across(pair, first_table_size) else "one table"
        panels = [photo_panel(open_photo(files[row], upright=False)) for row in (pair.first, pair.second)]
        tiles.append(Tile(f"{likeness(pair)}, {where}: {files[pair.first].name[:20]}", panels))
    return contact_sheet({f"{len(tiles)} of {len(pairs)} pairs of duplicates": tiles}, 3)


if __name__ == "__main__":
    run_program(main, options)
