"""The class table: names, iMaterialist category ids, precedence."""

import re
from dataclasses import dataclass

from utils.documents import read_document
from utils.errors import UserError

MAX_CLASSES = 253  # besides background; the label values above them have meanings of their own (utils/label_values.py)
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

    ``ids[k]`` are the category ids, or names, of class k + 1; every other category is background (class 0), and
    those in ``background`` are known to be. Where masks overlap, the class that stands first in the table wins.
    """

    clothes: tuple[str, ...]
    ids: tuple[tuple[int | str, ...], ...]
    background: tuple[int | str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by label value, background first."""
        return ("background", *self.clothes)

    @property
    def by_category(self) -> dict[int, int]:
        """Label value of every category id of iMaterialist, and of the others in this table."""
        ids = ((value, n if isinstance(n, int) else imaterialist_category(n)) for value, n in self.entries())
        return dict.fromkeys(range(len(IMATERIALIST_CATEGORIES)), 0) | {n: value for value, n in ids if n is not None}

    def as_lists(self) -> list[list[int | str]]:
        """Name and categories of each class, background first."""
        return [[name, *ids] for name, ids in zip(self.names, (self.background, *self.ids), strict=True)]

    def entries(self) -> list[tuple[int, int | str]]:
        """(label value, category) of every category, background's first."""
        return [(value, n) for value, ids in enumerate((self.background, *self.ids)) for n in ids]


# iMaterialist's supercategories upperbody, lowerbody and wholebody.
CLOTHES = ClassTable(
    clothes=("upper", "lower", "full"),
    ids=((0, 1, 2, 3, 4, 5), (6, 7, 8), (9, 10, 11, 12)),
)


def folded(name: str) -> str:
    """A name as names are compared: letters and digits in lower case, in the singular: tshirt for T-Shirts."""
    words = re.sub(r"[\W_]+", " ", name).casefold().split()
    return "".join(re.sub(r"(?<=ss)es$|(?<!s)s$", "", word) or word for word in words)


# Category id by folded name, and by each of the words that commas separate in it.
_BY_NAME = {
    folded(part): number for number, name in enumerate(IMATERIALIST_CATEGORIES) for part in [name, *name.split(",")]
}


def imaterialist_category(name: str) -> int | None:
    """Id of the iMaterialist category of a name, such as "shirt, blouse", "Shirt_Blouse" or "blouse"."""
    return _BY_NAME.get(folded(name))


def is_class_name(name: object) -> bool:
    """Whether a class can have this name: it is shown, becomes part of file names, and ``any`` means all clothes."""
    return isinstance(name, str) and name not in ("", "any") and name.isprintable() and not set(name) & set("/\\")


def _category(category: object) -> object:
    """A number as a number, even where it is written as text or as 1.0."""
    if isinstance(category, str) and category.strip().isdecimal():
        return int(category)
    return int(category) if isinstance(category, float) and category.is_integer() else category


def _is_class(name: object, ids: object) -> bool:
    return is_class_name(name) and isinstance(ids, list) and bool(ids) and all(map(_is_category, ids))


def _is_category(category: object) -> bool:
    return (type(category) is int and category >= 0) or (isinstance(category, str) and folded(category) != "")


def check_classes(classes: ClassTable, known: tuple[str, ...], checkpoint: str) -> tuple[str, ...]:
    """Class names by label. Raises UserError unless table and checkpoint have the same classes in the same order;
    a checkpoint that has only numbers for its classes takes the table's names.
    """
    numbered = all(name.isdigit() for name in known)
    if len(known) != len(classes.names) or not (numbered or known == classes.names):
        raise UserError(
            f"{checkpoint} has the {len(known)} classes {', '.join(known)}, but the class map has the "
            f"{len(classes.names)} classes {', '.join(classes.names)}; set --class_map to the map it was trained with"
        )
    return classes.names


def load_class_table(path: str | None) -> ClassTable:
    """Class table from a YAML or JSON file that maps each class name to its categories, in order of precedence.

    A category is an id (a number) or a name (text). Under the name ``background`` stand categories that are known to
    be in no class. None is the default table. Raises UserError when the file is missing, is not such a mapping, or
    names a category twice.
    """
    if path is None:
        return CLOTHES
    content = read_document(path, "class map")
    if isinstance(content, dict):
        if "any" in content:
            raise UserError(f"the class map {path} has a class named any; the name is reserved, it means all clothes")
        content = {key: list(map(_category, ids)) if isinstance(ids, list) else ids for key, ids in content.items()}
    valid = isinstance(content, dict) and 1 <= len(content.keys() - {"background"}) <= MAX_CLASSES
    if not valid or not all(_is_class(name, ids) for name, ids in content.items()):
        raise UserError(
            f"the class map {path} must map 1 to {MAX_CLASSES} class names (besides background) to lists of category "
            "ids or names, for example {upper: [0, 1], lower: [pants, shorts]}; a name is text without slashes"
        )
    flat = [folded(i) if isinstance(i, str) else i for ids in content.values() for i in ids]
    twice = sorted({i for i in flat if flat.count(i) > 1}, key=str)
    if twice:
        raise UserError(f"the class map {path} names category {twice[0]} twice; each belongs to one class")
    background = tuple(content.pop("background", ()))
    return ClassTable(tuple(content), tuple(tuple(ids) for ids in content.values()), background)
