"""Measure a checkpoint on labelled photographs: python evaluate.py --image_folder D --df_path F (see --help)."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from data.classes import CLOTHES, ClassTable, load_class_table, palette
from data.imaterialist_table import LabelTable, read_table
from networks.evaluation import predictions
from networks.predictor import Predictor
from options.evaluate_options import EvaluateOptions
from utils.confusion_picture import confusion_picture
from utils.contact_sheet import Tile, bright, contact_sheet, label_panel, photo_panel, save_picture
from utils.devices import describe, resolve_device, resolve_precision
from utils.errors import UserError, run_program
from utils.files import write_atomically
from utils.metrics import BOUNDARY_TOLERANCE, BoundaryScore, ConfusionMatrix, SplitRate

EXAMPLES = 6  # photographs in each section of the contact sheet


@dataclass
class Evaluation:
    """What a predictor did on a table.

    matrix: pixels of all photographs. split: None where the classes are not upper, lower and full. agreement: by
    index into the table, see ConfusionMatrix.clothes_agreement; 1 where there are no clothes and none were found.
    """

    matrix: ConfusionMatrix
    boundary: BoundaryScore
    split: SplitRate | None
    agreement: dict[int, float]


def main() -> None:
    options = EvaluateOptions.parse()
    device = resolve_device(options.device)
    precision = resolve_precision(options.precision, device)
    predictor = Predictor.from_checkpoint(
        options.checkpoint_path, device, precision, options.fine_height, options.fine_width, options.flip
    )
    classes = load_class_table(options.class_map) if options.class_map else CLOTHES
    names = check_classes(classes, predictor.class_names, options.checkpoint_path)
    table = read_table(options.df_path, options.image_folder, classes, options.max_dataset_size, progress=True)
    print(
        f"device: {describe(device)}, {precision}; {options.checkpoint_path} at {predictor.size[1]}x{predictor.size[0]}"
    )
    for line in table.skipped.lines():
        print(f"  {line}")

    result = evaluate(predictor, table, names, options.close_ups)
    compared = "close-ups from the photographs" if options.close_ups else "photographs"
    print(f"{len(result.agreement)} {compared} of {options.df_path}\n\n{as_text(result, names)}")
    if options.json:
        figures = as_figures(result, names) | {
            "checkpoint": options.checkpoint_path,
            "size": list(predictor.size),
            "close_ups": options.close_ups,
        }
        write_atomically(Path(options.json), json.dumps(figures, indent=2, allow_nan=False).encode() + b"\n")
    if options.report_dir:
        folder = Path(options.report_dir)
        save_picture(confusion_picture(result.matrix.counts, names), folder / "confusion_matrix.png")
        save_picture(best_and_worst(result, predictor, table, names, options.close_ups), folder / "contact_sheet.png")
        print(f"\npictures in {folder}")


def check_classes(classes: ClassTable, known: tuple[str, ...], checkpoint: str) -> tuple[str, ...]:
    """Class names by label. Raises UserError where table and checkpoint do not speak of the same classes in the
    same order; a checkpoint that has only numbers for its classes takes the table's names.
    """
    numbered = all(name.isdigit() for name in known)
    if len(known) != len(classes.names) or not (numbered or known == classes.names):
        raise UserError(
            f"{checkpoint} has the {len(known)} classes {', '.join(known)}, but the truth would have the "
            f"{len(classes.names)} classes {', '.join(classes.names)}; set --class_map to the map it was trained with"
        )
    return classes.names


def evaluate(predictor: Predictor, table: LabelTable, names: tuple[str, ...], close_ups: bool = False) -> Evaluation:
    """Predict and compare every photo, or its close-up, at its own size. Raises UserError where none can be decoded."""
    split = None
    if {"upper", "lower", "full"} <= set(names):
        split = SplitRate(names.index("full"), (names.index("upper"), names.index("lower")))
    result = Evaluation(ConfusionMatrix(len(names)), BoundaryScore(len(names)), split, {})
    compared = predictions(predictor, table, range(len(table)), close_ups)
    for index, _, truth, prediction in tqdm(compared, total=len(table), unit="photo", leave=False):
        photo = ConfusionMatrix(len(names))
        photo.update(truth, prediction)
        result.matrix.counts += photo.counts
        result.boundary.update(truth, prediction)
        if split:
            split.update(photo)
        result.agreement[index] = float(np.nan_to_num(photo.clothes_agreement(), nan=1.0))
    if not result.agreement:
        raise UserError(f"none of the {len(table)} photographs can be decoded; check the data set")
    return result


def as_figures(result: Evaluation, names: tuple[str, ...]) -> dict:
    """The figures as JSON has them: shares in 0..1, null for a class that neither truth nor prediction has."""
    matrix = result.matrix
    return {
        "iou": {name: defined(value) for name, value in zip(names, matrix.iou(), strict=True)},
        "miou": defined(matrix.mean_iou()),
        "miou_clothes": defined(matrix.mean_clothes_iou()),
        "clothes_iou": defined(matrix.clothes_iou()),
        "boundary_f": {name: defined(value) for name, value in zip(names, result.boundary.f_score(), strict=True)},
        "pixel_accuracy": defined(matrix.pixel_accuracy()),
        "images": len(result.agreement),
    }


def defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def as_text(result: Evaluation, names: tuple[str, ...]) -> str:
    """The figures as a table to read."""
    matrix = result.matrix
    width = max(len("clothes against rest"), *map(len, names))

    def line(name: object, *cells: object) -> str:
        shown = (f"{'-' if np.isnan(c) else f'{c:.4f}'}" if isinstance(c, float) else str(c) for c in cells)
        return f"{name:<{width}}" + "".join(f"{cell:>12}" for cell in shown)

    iou, dice, boundary = (values.tolist() for values in (matrix.iou(), matrix.dice(), result.boundary.f_score()))
    share = matrix.counts / np.maximum(matrix.counts.sum(1, keepdims=True), 1)
    lines = [
        line("class", "IoU", "Dice", "boundary F"),
        *(line(*row) for row in zip(names, iou, dice, boundary, strict=True)),
        line("mean", matrix.mean_iou()),
        line("mean of the clothes", matrix.mean_clothes_iou()),
        line("clothes against rest", matrix.clothes_iou()),
        line("pixel accuracy", matrix.pixel_accuracy()),
        "",
        f"boundary F: boundaries within {BOUNDARY_TOLERANCE:g} of the photo's diagonal",
        "",
        line("truth \\ prediction", *names),
        *(line(name, *(f"{100 * cell:.2f} %" for cell in row)) for name, row in zip(names, share, strict=True)),
    ]
    if split := result.split:
        rate = f" ({100 * split.split / split.seen:.0f} %)" if split.seen else ""
        lines += ["", f"full body split into upper and lower: {split.split} of {split.seen} photographs{rate}"]
    return "\n".join(lines)


def best_and_worst(
    result: Evaluation, predictor: Predictor, table: LabelTable, names: tuple[str, ...], close_ups: bool
) -> Image.Image:
    """Contact sheet of the photographs with the worst, median and best agreement: photo, truth, prediction.

    They are predicted once more: to keep the pictures of a large table until the ranks are known takes more memory.
    """
    ranked = sorted(result.agreement, key=result.agreement.get)
    middle = max(0, (len(ranked) - EXAMPLES) // 2)
    sections = {
        "worst": ranked[:EXAMPLES],
        "median": ranked[middle : middle + EXAMPLES],
        "best": ranked[::-1][:EXAMPLES],
    }
    colours = bright(palette(len(names)))

    def tiles(indices: Iterable[int]) -> list[Tile]:
        return [
            Tile(
                f"{result.agreement[index]:.3f}  {table.files[index].name}",
                [photo_panel(photo), label_panel(photo, truth, colours), label_panel(photo, prediction, colours)],
            )
            for index, photo, truth, prediction in predictions(predictor, table, indices, close_ups)
        ]

    titles = {f"{name}: photo, truth, prediction; agreement over clothes": tiles(i) for name, i in sections.items()}
    legend = {name: tuple(colour) for name, colour in zip(names[1:], colours[1:].tolist(), strict=True)}
    return contact_sheet(titles, columns=3, legend=legend)


if __name__ == "__main__":
    run_program(main)
