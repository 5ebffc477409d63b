"""The class table: names, iMaterialist category ids, precedence."""

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from utils.errors import UserError

MAX_CLASSES = 253  # beside background; the label values above them have meanings of their own (utils/labels.py)
# By id, the same in the 2019 and 2020 editions: whole garments and accessories, and from 27 on parts of garments.
IMATERIALIST_CATEGORIES = (
    "shirt, blouse", "top, t-shirt, sweatshirt", "sweater", "cardigan", "jacket", "vest", "pants", "shorts", "skirt",
    "coat", "dress", "jumpsuit", "cape", "glasses", "hat", "headband, head covering, hair accessory", "tie", "glove",
    "watch", "belt", "leg warmer", "tights, stockings", "sock", "shoe", "bag, wallet", "scarf", "umbrella", "hood",
    "collar", "lapel", "epaulette", "sleeve", "pocket", "neckline", "buckle", "zipper", "applique", "bead", "bow",
    "flower", "fringe", "ribbon", "rivet", "ruffle", "sequin", "tassel",
)  # fmt: skip


@dataclass(frozen=True)
class ClassTable:
    """Which categories make which class.

    ``ids[k]`` are the category ids of class k + 1; every other category is background (class 0).
    Where masks overlap, the class that stands first in the table wins.
    """

    clothes: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by label value, background first."""
        return ("background", *self.clothes)

    @property
    def by_category(self) -> dict[int, int]:
        """Label value of every known category id."""
        table = dict.fromkeys(range(len(IMATERIALIST_CATEGORIES)), 0)
        for value, ids in enumerate(self.ids, 1):
            table.update(dict.fromkeys(ids, value))
        return table


# iMaterialist's supercategories upperbody, lowerbody and wholebody.
CLOTHES = ClassTable(
    clothes=("upper", "lower", "full"),
    ids=((0, 1, 2, 3, 4, 5), (6, 7, 8), (9, 10, 11, 12)),
)


def _is_class(name: object, ids: object) -> bool:
    named = isinstance(name, str) and name not in ("", "any", "background")
    return named and isinstance(ids, list) and bool(ids) and all(type(i) is int and i >= 0 for i in ids)


def load_class_table(path: str | None) -> ClassTable:
    """Class table from a YAML or JSON file that maps each class name to its category ids, in order of precedence.

    None is the default table. Raises UserError when the file is missing, is not such a mapping, or names a category
    twice.
    """
    if path is None:
        return CLOTHES
    try:
        text = Path(path).read_text(encoding="utf-8")
        content = json.loads(text) if path.lower().endswith(".json") else yaml.safe_load(text)
    except OSError as error:
        raise UserError(f"cannot read the class map {path}: {error.strerror}") from None
    except (ValueError, yaml.YAMLError):
        raise UserError(f"the class map {path} is neither valid YAML nor valid JSON") from None
    valid = isinstance(content, dict) and 1 <= len(content) <= MAX_CLASSES
    if not valid or not all(_is_class(name, ids) for name, ids in content.items()):
        raise UserError(
            f"the class map {path} must map 1 to {MAX_CLASSES} class names (background is implied) to lists of "
            "category ids, for example {upper: [0, 1], lower: [6, 7, 8]}"
        )
    flat = [i for ids in content.values() for i in ids]
    twice = sorted({i for i in flat if flat.count(i) > 1})
    if twice:
        raise UserError(f"the class map {path} names category {twice[0]} twice; each belongs to one class")
    return ClassTable(tuple(content), tuple(tuple(ids) for ids in content.values()))
