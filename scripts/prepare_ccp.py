"""Make the recipe's tables from a clone of Clothing Co-Parsing: python scripts/prepare_ccp.py (see --help).

The data set is Yang, Luo and Lin, CVPR 2014, at https://github.com/bearpaw/clothing-co-parsing: photographs
1 to 1004 with a label for every pixel, 1005 to 2098 with image-level tags. This script writes

    train/   train.csv    784 photographs, one row a label, in iMaterialist's layout
    val/     val.csv      110 photographs, likewise
    tagged/  tagged.csv   1,093 photographs with their tags

and copies the photographs unchanged. The recipe was made with tables that came without their rules; the rules below
reproduce those tables byte for byte. The report says for each part whether they are the recipe's (`RECIPE`).

- File names and split follow from the photograph's number alone (`file_name`, `split`). The 110 photographs that come
  first in the order of the split belong to no part, and are not written.
- Photograph 1083 is left out because the tables leave it out.
- Categories (`CATEGORIES`) follow from the order of a photograph's rows, which is that of its labels, and where the
  order leaves a choice, from published statistics of the data set's masks. Clogs, intimate, panties and swimwear have
  no mask anywhere: they were assigned by their meaning.
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

    ccp: str = option(help="clone of https://github.com/bearpaw/clothing-co-parsing")
    output_dir: str = option(help="folder of the tables and photographs, new or empty")


if __name__ == "__main__":
    options = PrepareCcpOptions.from_command_line()  # before the imports that take seconds

import hashlib
import shutil

import numpy as np
from tqdm import tqdm

from data.labels.imaterialist import COLUMNS
from data.labels.rle import encode_rle
from utils.errors import UserError, run_program
from utils.files import make_new_folder, write_csv

REPOSITORY = "https://github.com/bearpaw/clothing-co-parsing"
PIXEL_LABELS = range(1, 1005)  # photographs with a label map
TAGS = range(1005, 2099)  # photographs with tags
PART_SIZE = 110  # photographs in val, and left out
NOT_TAGGED = 1083

# Labels of Clothing Co-Parsing by iMaterialist category.
CATEGORIES = {
    0: ("blouse", "shirt"),
    1: ("bra", "hoodie", "sweatshirt", "t-shirt", "top"),
    2: ("jumper", "sweater"),
    3: ("cardigan",),
    4: ("blazer", "jacket", "suit"),
    5: ("vest",),
    6: ("jeans", "leggings", "pants"),
    7: ("shorts",),
    8: ("skirt",),
    9: ("coat",),
    10: ("dress",),
    11: ("bodysuit", "romper"),
    12: ("cape",),
    13: ("glasses", "sunglasses"),
    14: ("hat",),
    16: ("tie",),
    17: ("gloves",),
    18: ("watch",),
    19: ("belt",),
    21: ("stockings", "tights"),
    22: ("socks",),
    23: ("boots", "clogs", "flats", "heels", "loafers", "pumps", "sandals", "shoes", "sneakers", "wedges"),
    24: ("bag", "purse", "wallet"),
    25: ("scarf",),
}
CATEGORY_OF = {name: category for category, names in CATEGORIES.items() for name in names}
WITHOUT_CATEGORY = {"null", "skin", "hair"} | {"accessories", "bracelet", "earrings", "necklace", "ring"}
WITHOUT_CATEGORY |= {"intimate", "panties", "swimwear"}
TOP, LOWER = 1, {6, 7, 8}  # a bodysuit under trousers, shorts or a skirt looks like a top

# sha256 of each table and its photographs, one after the other by file name, as the recipe was made with.
RECIPE = {
    "train": "417e28f531aa134186c7cd0d4339f23b098d57b1093512240feac0f955e7e124",
    "val": "efafaae3da3456a23f992cb087955d37a499a51d509c679b5e0f4ae0cc638195",
    "tagged": "ab1f9890a6fbc580d2d8953e6a068b64587a8a08b977a31f2b7d5b32d30e67d4",
}


def main(options: PrepareCcpOptions) -> None:
    """Write the three parts and report their counts. Raises UserError."""
    clone, parts = Path(options.ccp), split()
    check_clone(clone, parts)
    labels = read_labels(clone)
    output = make_new_folder(options.output_dir)
    reports = [write_part(clone, output, part, numbers, labels) for part, numbers in parts.items()]
    print(f"wrote {output}", *reports, sep="\n")


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
    for part, numbers in parts.items():
        needed += [path for number in numbers for path in (photo(clone, number), annotation(clone, part, number))]
    missing = [path for path in needed if not path.is_file()]
    if missing:
        raise UserError(
            f"the clone {clone} lacks {len(missing)} of {len(needed)} files, first "
            f"{missing[0].relative_to(clone).as_posix()}: restore them with git -C {clone} checkout -- ."
        )


def photo(clone: Path, number: int) -> Path:
    return clone / f"photos/{number:04d}.jpg"


def annotation(clone: Path, part: str, number: int) -> Path:
    level = "image-level" if part == "tagged" else "pixel-level"
    return clone / f"annotations/{level}/{number:04d}.mat"


def read_variable(path: Path, name: str) -> np.ndarray:
    """A variable of a MATLAB file. Raises UserError."""
    try:
        from scipy.io import loadmat  # here: nothing else in the repository needs SciPy
    except ImportError:
        raise UserError("reading MATLAB files needs SciPy: pip install scipy") from None
    try:
        return np.asarray(loadmat(path, squeeze_me=True)[name])
    except Exception:  # SciPy raises many kinds on a file that is cut off or of another kind
        raise UserError(f"cannot read {name} in {path}: restore it in the clone with git checkout") from None


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
    rows = []
    for number in tqdm(numbers, part, leave=False):
        rows += rows_of(annotation(clone, part, number), number, labels)
        shutil.copyfile(photo(clone, number), folder / part / file_name(number))
    write_csv(folder / f"{part}.csv", [header, *rows])
    return f"{part}: {len(numbers)} photographs, {len(rows)} rows; {comparison(folder, part)}"


def label_rows(annotated: Path, number: int, labels: list[str]) -> list[tuple]:
    """Table rows of a photograph with a label map, one for each label that has a category. Raises UserError."""
    label_map = read_variable(annotated, "groundtruth")  # H x W
    value_of = {labels[value]: value for value in np.unique(label_map).tolist()}
    return [
        (file_name(number), encode_rle(label_map == value_of[name]), *label_map.shape, category)
        for name, category in categories(list(value_of))
    ]


def categories(names: list[str]) -> list[tuple[str, int]]:
    """(label, category) of the labels of one photograph that have a category, in their order."""
    rows = [(name, CATEGORY_OF[name]) for name in names if name in CATEGORY_OF]
    if LOWER & {category for _, category in rows}:
        rows = [(name, TOP if name == "bodysuit" else category) for name, category in rows]
    return rows


def tag_rows(annotated: Path, number: int, labels: list[str]) -> list[tuple]:
    """The table row of a tagged photograph. Raises UserError."""
    names = [labels[tag] for tag in np.unique(read_variable(annotated, "tags")).astype(int)]
    return [(file_name(number), " ".join(name for name in names if name != "null"))]


def comparison(folder: Path, part: str) -> str:
    """Whether table and photographs are those that the recipe was made with."""
    digest = hashlib.sha256((folder / f"{part}.csv").read_bytes())
    for path in sorted((folder / part).iterdir()):
        digest.update(path.read_bytes())
    return "as in the recipe" if digest.hexdigest() == RECIPE[part] else "not the recipe's table and photographs"


if __name__ == "__main__":
    run_program(main, options)
