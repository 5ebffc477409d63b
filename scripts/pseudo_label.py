"""Label photographs with a trained network, where it is sure: python scripts/pseudo_label.py (see --help).

The table that it writes is read by train.py like any other. Rows with the word ``unknown`` in place of a ClassId say
where the network is not sure, and rows with ``clothes`` where it is sure of clothes but not of their class.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from options.base_options import CLASS_MAP_HELP, PredictorOptions, option, refuse_existing
from utils.errors import UserError


@dataclass
class PseudoLabelOptions(PredictorOptions):
    """Label photographs with a trained network, where it is sure, for training on them."""

    image_folder: str = option(help="folder of photos; no EXIF rotation is applied", metavar="FOLDER")
    output: str = option(help="table to write (CSV), in the layout that train.py reads", metavar="FILE")
    tags: str | None = option(None, "table of tags: only tagged classes are labelled", metavar="FILE")
    tag_map: str | None = option(None, "YAML file, class name -> tags", metavar="FILE")
    class_map: str | None = option(None, CLASS_MAP_HELP, metavar="FILE")
    confidence: float = option(0.6, "least probability of a labelled pixel", at_least=0, below=1)
    clothes_confidence: float = option(
        0.8, "least probability of a pixel that is labelled clothes without a class", at_least=0, below=1
    )
    batchSize: int = option(4, "photographs through the network at once", at_least=1)
    nThreads: int = option(2, "threads that decode photographs", at_least=1)

    def resolve(self) -> "PseudoLabelOptions":
        super().resolve()
        if (self.tags is None) != (self.tag_map is None):
            raise UserError("--tags and --tag_map belong together")
        refuse_existing(self.output)
        return self


if __name__ == "__main__":
    options = PseudoLabelOptions.from_command_line()  # before the imports that take seconds

from collections import Counter
from collections.abc import Sequence

import numpy as np

from data.classes import ClassTable, check_classes, load_class_table
from data.labels.imaterialist import COLUMNS, WORDS
from data.labels.tags import count_tagged, read_tags
from data.photos.folder import find_photos, name_key
from networks.predictor import Predictor
from scripts.unlabelled import label_rows, segmented
from utils.errors import run_program
from utils.files import make_writable_folder, write_csv
from utils.freed_memory import keep_freed_memory
from utils.label_values import NAMES, SOME_CLOTHES, UNKNOWN

LEAST_PRESENT = 0.3  # of the probability must be on classes that can be there, or these say nothing


def main(options: PseudoLabelOptions) -> int:
    classes = load_class_table(options.class_map)
    tags = read_tags(options.tags, classes, options.tag_map) if options.tags else {}
    folder = Path(options.image_folder)
    photos = find_photos(folder)
    if tags:
        tagged = count_tagged(tags, [photo.name for photo in photos], options.tags)
        print(f"{options.tags}: tags of {tagged} photographs")
    make_writable_folder(Path(options.output).parent)
    predictor = Predictor.load(**options.predictor)
    keep_freed_memory()
    check_classes(classes, predictor.class_names, options.checkpoint_path)
    rows, pixels, left_out = [], Counter(), Counter()
    for photo, result in segmented(predictor, folder, photos, options.batchSize, left_out, options.nThreads):
        present = tags.get(name_key(photo.name), [True] * len(classes.names))
        labels = confident_labels(result.probabilities(), present, options.confidence, options.clothes_confidence)
        values, counts = np.unique(labels, return_counts=True)
        pixels.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        rows += table_rows(photo.as_posix(), labels, classes)
    if not rows:
        raise UserError(f"none of the {len(photos)} photographs of {folder} can be read")
    write_csv(Path(options.output), [COLUMNS, *rows])
    names = dict(enumerate(classes.names)) | NAMES
    total, failed = max(1, pixels.total()), left_out.total()
    shares = ", ".join(f"{name} {100 * pixels[value] / total:.1f} %" for value, name in names.items())
    print(f"{options.output}: {len(photos) - failed} of {len(photos)} photographs, {len(rows)} rows; {shares}")
    return 1 if failed else 0


def confident_labels(
    probability: np.ndarray, present: Sequence[bool], confidence: float, clothes_confidence: float
) -> np.ndarray:
    """Label map (H x W uint8) of what is known, given the classes that can be there.

    probability: C x H x W float32. present: C bool, background included. A pixel gets the most probable present class
    if that has more than ``confidence`` of the present classes' probability. Else, where the network has more than
    ``clothes_confidence`` for clothes, whatever their class, and some are present, it gets SOME_CLOTHES; else UNKNOWN.
    """
    present = np.asarray(present, bool)
    of_present = probability * present[:, None, None]
    total = of_present.sum(0)
    share = of_present / np.maximum(total, np.finfo(np.float32).tiny)
    sure = (share.max(0) > confidence) & (total >= LEAST_PRESENT)
    clothes = (1 - probability[0] > clothes_confidence) & bool(present[1:].any())
    return np.where(sure, share.argmax(0), np.where(clothes, SOME_CLOTHES, UNKNOWN)).astype(np.uint8)


def table_rows(image_id: str, labels: np.ndarray, classes: ClassTable) -> list[tuple]:
    """Rows (image id, run-lengths, height, width, ClassId) of a label map, one for each of its values.

    A class is written as the first of its categories, and pixels without one as a word (``WORDS``). A photo that is
    background all over gets a row without run-lengths.
    """
    category = {value: str(ids[0]) for value, ids in enumerate(classes.ids, 1)}
    category |= {-number: word for word, number in WORDS.items()}
    found = {category[value]: labels == value for value in np.unique(labels).tolist() if value}
    return label_rows(image_id, found) or [(image_id, "", *labels.shape, "")]


if __name__ == "__main__":
    run_program(main, options)
