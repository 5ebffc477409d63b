"""Make the recipe's tables from a clone of Clothing Co-Parsing: python scripts/prepare_ccp.py (see --help).

The data set is Yang, Luo and Lin, CVPR 2014, at https://github.com/bearpaw/clothing-co-parsing: photographs
1 to 1004 with a label for every pixel, 1005 to 2098 with image-level tags. This script writes

    train/   train.csv    784 photographs, one row a label, in iMaterialist's layout
    val/     val.csv      110 photographs, likewise
    tagged/  tagged.csv   1,093 photographs with their tags

and copies the photographs unchanged. The report says for each part whether table and photographs are those that the
recipe was made with, byte for byte (`RECIPE`).

- File names and split follow from the photograph's number alone (`file_name`, `split`). The 110 photographs that come
  first in the order of the split, and photograph 1083, belong to no part and are not written.
- A bodysuit is a top beside trousers, shorts or a skirt, else a jumpsuit (`categories`).
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from options.base_options import BaseOptions, option


@dataclass
class PrepareCcpOptions(BaseOptions):
    """Turn a clone of the Clothing Co-Parsing repository into the tables of the training recipe."""

    ccp: str = option(help="clone of https://github.com/bearpaw/clothing-co-parsing", metavar="FOLDER")
    output_dir: str = option(help="folder of the tables and photographs, new or empty", metavar="FOLDER")


if __name__ == "__main__":
    options = PrepareCcpOptions.from_command_line()  # before the imports that take seconds

import hashlib
import itertools
import shutil

import numpy as np
from PIL import Image
from tqdm import tqdm

from data.labels.imaterialist import COLUMNS
from data.labels.rle import encode_rle
from utils.cache_folder import digest
from utils.errors import UserError, run_program
from utils.files import whole_folder, write_csv

REPOSITORY = "https://github.com/bearpaw/clothing-co-parsing"
PIXEL_LABELS = range(1, 1005)  # photographs with a label map
TAGS = range(1005, 2099)  # photographs with tags
PART_SIZE = 110  # photographs in val, and left out
NOT_TAGGED = 1083

# Labels of Clothing Co-Parsing by iMaterialist category.
CATEGORIES = {
    0: "blouse shirt", 1: "bra hoodie sweatshirt t-shirt top", 2: "jumper sweater", 3: "cardigan",
    4: "blazer jacket suit", 5: "vest", 6: "jeans leggings pants", 7: "shorts", 8: "skirt", 9: "coat", 10: "dress",
    11: "bodysuit romper", 12: "cape", 13: "glasses sunglasses", 14: "hat", 16: "tie", 17: "gloves", 18: "watch",
    19: "belt", 21: "stockings tights", 22: "socks",
    23: "boots clogs flats heels loafers pumps sandals shoes sneakers wedges", 24: "bag purse wallet", 25: "scarf",
}  # fmt: skip
CATEGORY_OF = {name: category for category, names in CATEGORIES.items() for name in names.split()}
WITHOUT_CATEGORY = {"null", "skin", "hair", "accessories", "bracelet", "earrings", "necklace", "ring"}
WITHOUT_CATEGORY |= {"intimate", "panties", "swimwear"}
TOP, LOWER = 1, {6, 7, 8}  # a bodysuit under trousers, shorts or a skirt looks like a top

# sha256 of each table, and of its photographs one after the other by file name, as the recipe was made with.
RECIPE = {
    "train.csv": "3edfd5d5b3188ec18185841f9dd79a9eb80b4c01249c1d24c4b4c5d70cb8d398",
    "train": "d746a65f40897c3d13eef021b3937a5de7c5ed5d9b5f3d3805c283f3a10f05aa",
    "val.csv": "970ead507c0dfd3252c8f3716a5503e2f3c1b4b85a2b602bb246d3eb86144016",
    "val": "56256123e95be93488059558116038149c6a2284c4fe7ec14303cc9e9f5ee56a",
    "tagged.csv": "b0d1fb099281c9b249580cb372930674cef4b1a2b47cb991982a68e06b69e281",
    "tagged": "8a55f6734f2e88a249f58bfea92654b07d27fbee4d9d045d03a885dd8d169129",
}


def main(options: PrepareCcpOptions) -> None:
    """Write the three parts and report their counts. Raises UserError; then nothing is written."""
    clone, parts = Path(options.ccp), split()
    check_clone(clone, parts)
    labels = read_labels(clone)
    with whole_folder(options.output_dir) as folder:
        reports = [write_part(clone, folder, part, parts[part], labels) for part in parts]
    print(f"wrote {options.output_dir}", *reports, sep="\n")


def file_name(number: int) -> str:
    return f"{hashlib.md5(f'ccp-{number:04d}'.encode()).hexdigest()}.jpg"


def split() -> dict[str, list[int]]:
    """Numbers of the photographs of each part, in the order of its table."""
    shuffled = sorted(PIXEL_LABELS, key=lambda number: hashlib.sha256(f"ccp{number:04d}".encode()).digest())
    return {
        "train": sorted(shuffled[2 * PART_SIZE :]),
        "val": sorted(shuffled[PART_SIZE : 2 * PART_SIZE]),
        "tagged": sorted(set(TAGS) - {NOT_TAGGED}, key=file_name),
    }


def check_clone(clone: Path, parts: dict[str, list[int]]) -> None:
    """Raise UserError unless every file that the parts need lies in the clone."""
    if not (clone / "photos").is_dir() or not (clone / "annotations").is_dir():
        raise UserError(f"{clone} is not a clone of Clothing Co-Parsing: run git clone {REPOSITORY} and pass its path")
    needed = [clone / "label_list.mat"]
    for number in itertools.chain(*parts.values()):
        needed += [photo(clone, number), annotation(clone, number)]
    missing = [path for path in needed if not path.is_file()]
    if missing:
        raise UserError(
            f"the clone {clone} lacks {len(missing)} of {len(needed)} files, first "
            f"{missing[0].relative_to(clone).as_posix()}: restore them with git -C {clone} checkout -- ."
        )


def photo(clone: Path, number: int) -> Path:
    return clone / f"photos/{number:04d}.jpg"


def annotation(clone: Path, number: int) -> Path:
    level = "image-level" if number in TAGS else "pixel-level"
    return clone / f"annotations/{level}/{number:04d}.mat"


def read_variable(path: Path, name: str) -> np.ndarray:
    """A variable of a MATLAB file. Raises UserError."""
    try:
        from scipy.io import loadmat  # here: nothing else in the repository needs SciPy
    except ImportError:
        raise UserError("reading MATLAB files needs SciPy: pip install scipy") from None
    try:
        return np.asarray(loadmat(path, squeeze_me=True)[name])
    except Exception as error:  # SciPy raises many kinds on a file that is cut off or of another kind
        reason = f"no variable {name}" if isinstance(error, KeyError) else "not a MATLAB file, or a damaged one"
        raise UserError(f"cannot read {path} ({reason}): restore it in the clone with git checkout") from None


def read_labels(clone: Path) -> list[str]:
    """Names of the label numbers. Raises UserError when they are not those that this script knows."""
    labels = [str(name) for name in read_variable(clone / "label_list.mat", "label_list").reshape(-1)]
    if len(labels) != len(set(labels)) or set(labels) != set(CATEGORY_OF) | WITHOUT_CATEGORY:
        raise UserError(f"{clone / 'label_list.mat'} does not hold the 59 labels of the data set: clone it again")
    return labels


def write_part(clone: Path, folder: Path, part: str, numbers: list[int], labels: list[str]) -> str:
    """Write the table and the photographs of a part; return its counts as one line."""
    header, rows_of = (("ImageId", "Tags"), tag_rows) if part == "tagged" else (COLUMNS, label_rows)
    (folder / part).mkdir()
    table, empty = [header], 0
    for number in tqdm(numbers, part, leave=False):
        rows = rows_of(clone, number, labels)
        table += rows
        empty += not rows
        shutil.copyfile(photo(clone, number), folder / part / file_name(number))
    write_csv(folder / f"{part}.csv", table)
    without = f" ({empty} without a row)" if empty else ""
    return f"{part}: {len(numbers)} photographs{without}, {len(table) - 1} rows; {comparison(folder, part)}"


def label_rows(clone: Path, number: int, labels: list[str]) -> list[tuple]:
    """Table rows of a photograph with a label map, one for each label that has a category. Raises UserError."""
    path = annotation(clone, number)
    label_map = read_variable(path, "groundtruth")  # H x W
    with Image.open(photo(clone, number)) as image:
        size = image.size[::-1]
    if label_map.shape != size:
        raise UserError(f"{path} and its photograph differ in size, {label_map.shape} and {size}: clone it again")
    values = np.unique(label_map).tolist()
    if values[-1] >= len(labels):
        raise UserError(f"{path} has the label {values[-1]}, beyond label_list.mat: restore it with git checkout")
    value_of = {labels[value]: value for value in values}
    return [
        (file_name(number), encode_rle(label_map == value_of[name]), *size, category)
        for name, category in categories(list(value_of))
    ]


def categories(names: list[str]) -> list[tuple[str, int]]:
    """(label, category) of the labels of one photograph that have a category, in their order."""
    rows = [(name, CATEGORY_OF[name]) for name in names if name in CATEGORY_OF]
    if LOWER & {category for _, category in rows}:
        rows = [(name, TOP if name == "bodysuit" else category) for name, category in rows]
    return rows


def tag_rows(clone: Path, number: int, labels: list[str]) -> list[tuple]:
    """The table row of a tagged photograph. Raises UserError."""
    path = annotation(clone, number)
    tags = np.unique(read_variable(path, "tags")).astype(int)
    if len(tags) and (tags[0] < 0 or tags[-1] >= len(labels)):
        raise UserError(f"{path} has tags beyond label_list.mat: restore it with git checkout")
    return [(file_name(number), " ".join(labels[tag] for tag in tags if labels[tag] != "null"))]


def comparison(folder: Path, part: str) -> str:
    """Whether table and photographs are those that the recipe was made with."""
    table, photographs = folder / f"{part}.csv", sorted((folder / part).iterdir())
    different = ["table"] if digest(table) != RECIPE[table.name] else []
    different += ["photographs"] if digest(*photographs) != RECIPE[part] else []
    return f"not the recipe's: {' and '.join(different)}" if different else "table and photographs are the recipe's"


if __name__ == "__main__":
    run_program(main, options)
