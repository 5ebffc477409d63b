"""Label photographs with a trained network, where it is sure: python scripts/pseudo_label.py (see --help).

The table that it writes is read by train.py like any other. Rows with the word ``unknown`` in place of a ClassId say
where the network is not sure, and rows with ``clothes`` where it is sure of clothes but not of their class.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from options.prepare_options import PseudoLabelOptions

if __name__ == "__main__":
    options = PseudoLabelOptions.from_command_line()  # before the imports that take seconds

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from data.classes import check_classes, load_class_table
from data.image_folder import find_photos
from data.imaterialist_table import COLUMNS
from data.photo import PhotoError, open_photo
from data.pseudo_labels import confident_labels, table_rows
from data.tag_table import read_tags
from networks.predictor import Predictor
from utils.errors import run_program
from utils.files import make_writable_folder, write_csv
from utils.labels import SOME_CLOTHES, UNKNOWN
from utils.memory import keep_freed_memory


def main(options: PseudoLabelOptions) -> int:
    classes = load_class_table(options.class_map)
    tags = read_tags(options.tags, classes, options.tag_map) if options.tags else None
    folder = Path(options.image_folder)
    photos = find_photos(folder)
    if tags:
        print(f"{options.tags}: tags of {tags.check((photo.name for photo in photos), options.tags)} photographs")
    make_writable_folder(Path(options.output).parent)
    predictor = Predictor.load(**options.predictor)
    keep_freed_memory()
    check_classes(classes, predictor.class_names, options.checkpoint_path)
    rows, pixels, failed = [], Counter(), 0
    with ThreadPoolExecutor(options.nThreads) as pool:
        results = predictor.predict_stream(
            photos, lambda photo: open_photo(folder / photo, upright=False), options.batchSize, pool, keep_photos=False
        )
        for photo, result in tqdm(results, total=len(photos), unit="photo"):
            if isinstance(result, PhotoError):
                failed += 1
                tqdm.write(f"skipped {folder / photo}: {result}", file=sys.stderr)
                continue
            present = tags.of(photo.name).numpy() if tags else np.ones(len(classes.names), bool)
            labels = confident_labels(result.probabilities(), present, options.confidence, options.clothes_confidence)
            values, counts = np.unique(labels, return_counts=True)
            pixels.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
            rows += table_rows(photo.as_posix(), labels, classes)
    write_csv(Path(options.output), [COLUMNS, *rows])
    names = dict(enumerate(classes.names)) | {SOME_CLOTHES: "clothes of unknown class", UNKNOWN: "unknown"}
    total = max(1, sum(pixels.values()))
    shares = ", ".join(f"{name} {100 * pixels[value] / total:.1f} %" for value, name in names.items())
    print(f"{options.output}: {len(photos) - failed} of {len(photos)} photographs, {len(rows)} rows; {shares}")
    return 1 if failed else 0


if __name__ == "__main__":
    run_program(main, options)
