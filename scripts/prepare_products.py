"""Make the recipe's table of single garments from a clone of the clothing data set (CC0 1.0).

The data set is at https://github.com/alexeygrigorev/clothing-dataset: photographs of garments that lie or hang, and one
label for each (images.csv). It has no masks. This script writes:

    products.csv          a label table in iMaterialist's layout
    products_full.csv     the same of the garments that are full body, for a share of their own
    products_others.csv   the same of shoes and hats, which are background
    products_tags.csv     what the garments of unknown class can be
    products_val.csv      one photo in 25, of known class, which stands in none of the others: for validation

A mask is what a saliency network finds (`find_garment`), and its class comes from the label (`CATEGORIES`). The label
Outwear mixes jackets with coats: such a garment is written as `clothes`, and its tag says upper or full body. Where
the network is not sure, pixels are `unknown`. A photo is left out if its mask is doubtful (`doubt`).
Photographs are taken as they are stored. They stay where they are.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from options.base_options import NetworkOptions, option


@dataclass
class PrepareProductsOptions(NetworkOptions):
    """Turn photographs of single garments, each with one label, into tables of the training recipe."""

    products: str = option(
        help="clone of https://github.com/alexeygrigorev/clothing-dataset, or a folder like it", metavar="FOLDER"
    )
    output_dir: str = option(
        help="folder of the tables, new or empty; the photographs stay where they are", metavar="FOLDER"
    )
    saliency: str = option("prev_checkpoints/u2netp.onnx", "saliency weights of U2NETP: .onnx or .pth", metavar="FILE")
    size: int = option(320, "height and width that the saliency network sees", at_least=32)
    batchSize: int = option(4, "photos through the network at once", at_least=1)
    leave_out: str | None = option(
        None, "table whose photographs are left out, such as those kept for validation", metavar="FILE"
    )
    max_dataset_size: float = option(float("inf"), "use at most N photos", at_least=1)


if __name__ == "__main__":
    options = PrepareProductsOptions.from_command_line()  # before the imports that take seconds

import hashlib
from collections import Counter

import cv2
import numpy as np

from data.labels.csv_rows import read_rows
from data.results.postprocess import absorb, without_specks
from scripts.unlabelled import (
    UNREADABLE,
    SaliencyNetwork,
    label_rows,
    listed,
    named_photos,
    salience,
    segmented,
    write_tables,
)
from utils.errors import UserError, run_program
from utils.files import whole_folder, write_csv
from utils.freed_memory import keep_freed_memory

REPOSITORY = "https://github.com/alexeygrigorev/clothing-dataset"
# ClassId of each label: the iMaterialist category that is nearest, or a word.
CATEGORIES = {
    "Shirt": "0", "Blouse": "0", "T-Shirt": "1", "Longsleeve": "1", "Polo": "1", "Undershirt": "1", "Top": "1",
    "Hoodie": "1", "Blazer": "4", "Pants": "6", "Shorts": "7", "Skirt": "8", "Dress": "10", "Body": "11",
    "Outwear": "clothes", "Hat": "14", "Shoes": "23",
}  # fmt: skip
FULL_BODY = ("Dress", "Body")
BACKGROUND = ("Hat", "Shoes")

SALIENT = 0.5  # probability from which a pixel belongs to the garment
UNSURE = (0.3, 0.7)  # probabilities of unknown pixels
LEAST_PART = 0.1  # of the largest part: smaller ones are dropped
LARGEST_HOLE = 0.05  # of the garment: larger ones stay, such as what is seen between two sleeves
AREA = (0.04, 0.92)  # of the photo that a garment covers
VALIDATION = 25  # one photo in 25 is kept for validation
CERTAIN, LEAST_CERTAIN = (0.2, 0.8), 0.85  # share of the pixels on and near the garment that are outside of the first


def main(options: PrepareProductsOptions) -> int:
    keep_freed_memory()
    clone = Path(options.products)
    labels = read_labels(clone)
    unwanted = named_photos("--leave_out", options.leave_out, list(labels))
    used = [name for name in labels if name not in unwanted][: int(min(options.max_dataset_size, len(labels)))]
    with whole_folder(options.output_dir) as output:
        network = SaliencyNetwork(options, options.size)
        print(f"device: {network.name}; {len(used)} photographs with a label that is known here")
        tables, tags, left_out = {f"products{kind}": [] for kind in ("", "_full", "_others", "_val")}, [], Counter()
        for name, result in segmented(network, clone / "images", used, options.batchSize, left_out):
            label, probability = labels[name], salience(result)
            mask, unsure = find_garment(probability)
            if reason := doubt(mask, probability):
                left_out[reason] += 1
                continue
            kind = "_full" if label in FULL_BODY else "_others" if label in BACKGROUND else ""
            if CATEGORIES[label] == "clothes":
                tags.append((name, label))
            elif for_validation(name):
                kind = "_val"
            tables[f"products{kind}"] += rows_of(name, label, mask, unsure)
        write_tables(output, tables, clone / "images", left_out)
        write_csv(output / "products_tags.csv", [("ImageId", "Tags"), *tags])
    found = Counter(labels[name] for rows in tables.values() for name in dict.fromkeys(row[0] for row in rows))
    kept = len({row[0] for row in tables["products_val"]})
    print(f"wrote {options.output_dir}: {found.total()} photographs ({listed(found)}), {kept} of them for validation")
    print(f"left out: {listed(left_out) or 'none'}")
    return 1 if left_out[UNREADABLE] else 0


def for_validation(name: str) -> bool:
    """Whether a photo is kept for validation; it depends on the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % VALIDATION == 0


def read_labels(clone: Path) -> dict[str, str]:
    """Label by file name, of the photographs whose label is known here. Raises UserError."""
    if not (clone / "images").is_dir():
        raise UserError(
            f"{clone} is not a clone of the clothing data set: run git clone {REPOSITORY} and pass its path"
        )
    rows = (cells for cells, _ in read_rows(str(clone / "images.csv"), ["image", "label"], "table of labels"))
    labels = {f"{image}.jpg": label for image, label in rows if label in CATEGORIES}
    if not labels:
        raise UserError(f"{clone / 'images.csv'} has no photograph with a label that is known here")
    return labels


def find_garment(probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mask, unsure pixels), both H x W bool, of a saliency map H x W float32 in 0..1.

    The mask is the largest part of what is salient, and other parts of some size, without small holes.
    """
    salient = probability > SALIENT
    mask = without_specks(salient, LEAST_PART)
    filled = mask.astype(np.uint8)
    absorb(filled, 0, LARGEST_HOLE * mask.sum())
    holes = (filled > 0) & ~mask
    unsure = (probability > UNSURE[0]) & (probability < UNSURE[1]) & ~holes
    return mask | holes, unsure | (salient & ~mask)


def doubt(mask: np.ndarray, probability: np.ndarray) -> str | None:
    """Why a mask is not used, or None: its area, and how sure the network is on and near it."""
    area = mask.mean()
    if not AREA[0] <= area <= AREA[1]:
        return "area"
    reach = max(3, round(0.047 * min(mask.shape)) | 1)  # 9 pixels of 192
    near = cv2.dilate(mask.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    certain = (probability <= CERTAIN[0]) | (probability >= CERTAIN[1])
    return None if certain[near].mean() >= LEAST_CERTAIN else "uncertain"


def rows_of(name: str, label: str, mask: np.ndarray, unsure: np.ndarray) -> list[tuple]:
    """Rows of a photo. Around what is background anyway, nothing needs to be unknown."""
    unknown = {} if label in BACKGROUND else {"unknown": unsure}
    return label_rows(name, {CATEGORIES[label]: mask & ~unsure} | unknown)


if __name__ == "__main__":
    run_program(main, options)
