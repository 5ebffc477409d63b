"""Measure a checkpoint on labelled photographs: python evaluate.py --image_folder D --df_path F (see --help)."""

from options.evaluate_options import EvaluateOptions

if __name__ == "__main__":
    options = EvaluateOptions.from_command_line()  # before the imports that take seconds

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from data.classes import check_classes, load_class_table
from data.labels.read import read_labels
from data.results.formats import png
from data.results.postprocess import Postprocess
from data.results.segmentation import Segmentation
from data.training.datasets import EvaluationPhotos
from networks.predictor import Predictor
from utils.errors import UserError, escape_unprintable, run_program
from utils.evaluation.against_truth import Evaluation, Predict, evaluate, pooled_over_ranks
from utils.evaluation.metrics import BOUNDARY_TOLERANCE, is_split
from utils.evaluation.pictures import Tile, confusion_picture, contact_sheet, label_panel, photo_panel
from utils.files import make_writable_folder, say_replaced, write_atomically
from utils.freed_memory import keep_freed_memory
from utils.label_values import NAMES
from utils.process_group import PATIENCE, process_group
from utils.ranks import Shard

EXAMPLES = 6  # photographs in each section of the contact sheet


def main(options: EvaluateOptions) -> int:
    share = Shard.parse(None)  # the launcher's
    first = share.number == 1
    classes = load_class_table(options.class_map)
    if options.json:
        make_writable_folder(Path(options.json).parent)
    if options.report_dir:
        make_writable_folder(Path(options.report_dir))
    predictor = Predictor.load(**options.predictor)
    keep_freed_memory()
    names = check_classes(classes, predictor.class_names, options.checkpoint_path)
    df_path = None if options.no_clothes else options.df_path
    table = read_labels(df_path, options.image_folder, classes, options.max_dataset_size, progress=first)
    if first:
        print(f"device: {predictor.name}; {options.checkpoint_path} at {predictor.size[1]}x{predictor.size[0]}")
        for line in table.lines():
            print(f"  {line}")
        for path, reason in table.skipped.unreadable.items():
            print(f"left out: {escape_unprintable(path)}: {reason}", file=sys.stderr)

    photos = EvaluationPhotos(table, options.close_ups)
    indices = share.of(range(len(photos)))
    postprocess = Postprocess(**options.postprocess)

    def predict(photo: Image.Image) -> Segmentation:
        return postprocess(predictor(photo))

    loaded = tqdm(photos.load(indices), total=len(indices), unit="photo", leave=False, disable=not first)
    result = evaluate(predict, loaded, len(names))
    with process_group(torch.device("cpu"), timeout=PATIENCE):
        result = pooled_over_ranks(result)
    if not first:
        return 0
    if not result.photos:
        raise UserError(f"none of the {len(photos)} photographs can be decoded; check the data set")
    compared = "close-ups from the photographs" if options.close_ups else "photographs"
    print(f"{len(result.photos)} {compared} of {df_path or options.image_folder}\n\n{as_text(result, names)}")
    if options.json:
        settings = {"checkpoint": options.checkpoint_path, "size": list(predictor.size), "close_ups": options.close_ups}
        figures = as_figures(result, names) | settings | {"postprocess": options.postprocess}
        say_replaced([Path(options.json)])
        write_atomically(Path(options.json), json.dumps(figures, indent=2, allow_nan=False).encode() + b"\n")
    if options.report_dir:
        confusion, sheet = (Path(options.report_dir, name) for name in ("confusion_matrix.png", "contact_sheet.png"))
        say_replaced([confusion, sheet])
        write_atomically(confusion, png(confusion_picture(result.matrix.counts, names)))
        write_atomically(sheet, png(best_and_worst(result, predict, photos, names)))
        print(f"\npictures in {options.report_dir}")
    return 1 if table.skipped.unreadable or len(result.photos) < len(photos) else 0


def as_figures(result: Evaluation, names: tuple[str, ...]) -> dict:
    """The figures as JSON has them: shares in 0..1, null for a class that neither truth nor prediction has."""
    matrix = result.matrix
    return {
        "iou": {name: defined(value) for name, value in zip(names, matrix.iou(), strict=True)},
        **{name: defined(value) for name, value in result.means().items()},
        "boundary_f": {name: defined(value) for name, value in zip(names, result.boundary.f_score(), strict=True)},
        "pixel_accuracy": defined(matrix.pixel_accuracy()),
        "false_alarm": defined(result.false_alarm()),
        "images": len(result.photos),
    }


def defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def as_text(result: Evaluation, names: tuple[str, ...]) -> str:
    """The figures as a table to read."""
    matrix = result.matrix
    longest = max(map(len, names))
    width, column = max(len("clothes against rest"), longest), max(12, longest + 2)

    def line(name: object, *cells: object) -> str:
        shown = (str(c) if not isinstance(c, float) else "-" if np.isnan(c) else f"{c:.4f}" for c in cells)
        return f"{name:<{width}}" + "".join(f"{cell:>{column}}" for cell in shown)

    iou, dice, boundary = (values.tolist() for values in (matrix.iou(), matrix.dice(), result.boundary.f_score()))
    share = matrix.counts / np.maximum(matrix.counts.sum(1, keepdims=True), 1)
    lines = [
        line("class", "IoU", "Dice", "boundary F"),
        *(line(*row) for row in zip(names, iou, dice, boundary, strict=True)),
        line("mean", matrix.mean_iou()),
        line("mean of the clothes", matrix.mean_foreground_iou()),
        line("clothes against rest", matrix.foreground_iou()),
        line("pixel accuracy", matrix.pixel_accuracy()),
        "",
        f"boundary F: boundaries within {BOUNDARY_TOLERANCE:g} of the photo's diagonal",
        "",
        line("truth \\ prediction", *names),
        *(line(name, *(f"{100 * cell:.2f} %" for cell in row)) for name, row in zip(names, share, strict=True)),
    ]
    if {"upper", "lower", "full"} <= set(names):
        classes = names.index("full"), [names.index("upper"), names.index("lower")]
        splits = [split for photo in result.photos.values() if (split := is_split(photo, *classes)) is not None]
        percent = f" ({100 * sum(splits) / len(splits):.0f} %)" if splits else ""
        lines += ["", f"full body split into upper and lower: {sum(splits)} of {len(splits)} photographs{percent}"]
    if bare := result.without_clothes():
        percent = f"{100 * result.false_alarm():.2f} %"
        without = f"the {len(bare)} photographs without clothes"
        lines += ["", f"false alarms: {percent} of the pixels of {without} are called clothes"]
    return "\n".join(lines)


def best_and_worst(
    result: Evaluation, predict: Predict, photos: EvaluationPhotos, names: tuple[str, ...]
) -> Image.Image:
    """Contact sheet of the photographs with the worst, median and best accuracy: photo, truth, prediction.

    They are predicted once more: keeping the pictures of a large table until the ranks are known takes more memory.
    """
    # 1 where there are no clothes and none were found.
    accuracy = {
        index: float(np.nan_to_num(matrix.foreground_accuracy(), nan=1.0)) for index, matrix in result.photos.items()
    }
    ranked = sorted(accuracy, key=accuracy.get)
    middle = max(0, (len(ranked) - EXAMPLES) // 2)
    sections = {
        "worst": ranked[:EXAMPLES],
        "median": ranked[middle : middle + EXAMPLES],
        "best": ranked[::-1][:EXAMPLES],
    }
    partly_known = set()

    def tile(index: int, photo: Image.Image, truth: np.ndarray) -> Tile:
        partly_known.update(NAMES.keys() & np.unique(truth).tolist())
        maps = [label_panel(photo, labels) for labels in (truth, predict(photo).labels)]
        return Tile(f"{accuracy[index]:.3f}  {photos.table.files[index].name}", [photo_panel(photo), *maps])

    titles = {
        f"{name}: photo, truth, prediction; agreement over clothes": [tile(*each) for each in photos.load(indices)]
        for name, indices in sections.items()
    }
    legend = dict(enumerate(names[1:], 1)) | {value: NAMES[value] for value in sorted(partly_known)}
    return contact_sheet(titles, columns=3, legend=legend)


if __name__ == "__main__":
    run_program(main, options)
