"""Which class each category of a data set is: by the names of well-known data sets, or by a class map."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from data.classes import CLOTHES, IMATERIALIST_CATEGORIES, ClassTable, folded, imaterialist_category
from utils.errors import UserError
from utils.label_values import SOME_CLOTHES, UNKNOWN

LISTED = 50  # names before "and N more"
PARTLY_KNOWN = {SOME_CLOTHES: ("clothes", SOME_CLOTHES), UNKNOWN: ("unknown", UNKNOWN)}  # values of label maps
NAMED = -1000  # from here down are the numbers of categories that have none of their own

# Names of categories besides iMaterialist's (which are Fashionpedia's too): those of DeepFashion2 (Ge et al. 2019),
# ModaNet (Zheng et al. 2018), Clothing Co-Parsing (Yang et al. 2014), ATR (Liang et al. 2015), LIP (Gong et al. 2017),
# CIHP (Gong et al. 2018) and MHP (Zhao et al. 2018), and plain words for the three classes and for what is neither.
KNOWN_NAMES = {
    "upper": """
        short sleeve top, long sleeve top, short sleeve outwear, long sleeve outwear, sling, outer, outwear, outerwear,
        bra, hoodie, sweatshirt, jumper, blazer, suit, upper clothes, jacket/windbreaker/hoodie, tee, tee shirt,
        polo, polo shirt, singlet, bikini/bra, other upper body clothes, upper body, upper body clothes, upper wear,
        upper garment, upper clothing, top wear, tank top, pullover, waistcoat, long sleeve, undershirt
        """,
    "lower": """
        trousers, jeans, leggings, shorts/swim shorts, swim shorts, other lower body clothes, lower body,
        lower body clothes, lower wear, lower garment, lower clothes, lower clothing, bottom, bottom wear, sweatpants
        """,
    "full": """
        short sleeve dress, long sleeve dress, vest dress, sling dress, bodysuit, romper, robe,
        other full body clothes, full body, full body clothes, whole body, whole body clothes, one piece, overall, gown
        """,
    "background": """
        background, null, void, other accessory, other accessary, accessory, accessories, person, people, human,
        skin, torso skin, hair, face, head, neck, arm, hand, leg, foot, feet, shoe, boot, footwear, heel, high heel,
        highheel, sandal, clog, flat, loafer, pump, sneaker, wedge, sock, stocking, tights, sunglasses, eyewear,
        eyeware, glasses, cap, cap/hat, helmet, headwear, headware, protector, glove, scarf, scarves, scarf & tie,
        scarf/tie, scarf and tie, tie, belt, watch, wristband, bracelet, earring, necklace, ring, jewelry, jewellery,
        bag, purse, wallet, wallet/purse, backpack, handbag, carrybag, case, umbrella, ball, bat, bottle, intimate,
        panties, swimwear
        """,
}


# Value among the default classes by folded name; 0 for what is known to be none of them.
CLASS_OF_NAME = {
    folded(name): value
    for value, class_name in enumerate(CLOTHES.names)
    for name in [class_name, *KNOWN_NAMES[class_name].split(",")]
}


def class_of_name(name: str) -> int | None:
    """Value that a category's name has among the default classes: 0 for what is known to be none; None if unknown."""
    name = re.sub(r"^(left|right)[\W_]+", "", name.strip(), flags=re.IGNORECASE)
    number = imaterialist_category(name)
    return CLASS_OF_NAME.get(folded(name)) if number is None else CLOTHES.by_category[number]


@dataclass
class Categories:
    """What the categories of a file are.

    table: (name, class) by category number. undecided: the numbers of those that are background only because nobody
    says what they are. absent: categories of the class map that the file, which lists its own, does not have.
    unlisted: categories of the class map that only the masks themselves can show to be there.
    """

    classes: ClassTable
    table: dict[int, tuple[str, int]]
    undecided: set[int] = field(default_factory=set)
    absent: list[int | str] = field(default_factory=list)
    unlisted: dict[int, int | str] = field(default_factory=dict)
    _number_of: dict[str, int] = field(default_factory=dict)

    @classmethod
    def by_name(cls, classes: ClassTable, names: dict[int, str], source: str) -> "Categories":
        """Of a file that names its categories. The default classes go by the names, whatever the numbers; a class map
        goes by numbers and names. Raises UserError where no category makes a class.
        """
        value_of, absent = dict.fromkeys(names), []
        if classes == CLOTHES:
            value_of = {number: class_of_name(name) for number, name in names.items()}
        for value, category in classes.entries() if classes != CLOTHES else ():
            found = _matching(category, names)
            value_of.update(dict.fromkeys(found, value))
            absent += [category] if value and not found else []
        if not any(value_of.values()):
            raise UserError(
                f"none of the categories of {source} ({listed(names.values())}) makes one of the classes "
                f"{', '.join(classes.clothes)}; give a class map that says which of them do"
            )
        undecided = {number for number, value in value_of.items() if value is None}
        return cls(classes, {n: (names[n], value or 0) for n, value in value_of.items()}, undecided, absent)

    @classmethod
    def by_imaterialist(cls, classes: ClassTable) -> "Categories":
        """Of a file that does not list its categories: by iMaterialist's numbers, or the class map's; see number_of."""
        result = cls(classes, dict(enumerate((name, 0) for name in IMATERIALIST_CATEGORIES)))
        decided = set()
        for value, category in classes.entries():
            number = category if isinstance(category, int) else result.number_of(category)
            name, _ = result.table.get(number, ("(of the class map)", 0))
            result.table[number] = (name, value)
            decided.add(number)
            if value and number not in range(len(IMATERIALIST_CATEGORIES)):
                result.unlisted[number] = category
        for value, name in enumerate(classes.names):  # a class's own name is a category too
            if imaterialist_category(name) is None and (number := result.number_of(name)) not in decided:
                result.table[number] = (name, value)
                decided.add(number)
        result.undecided = set() if classes == CLOTHES else result.table.keys() - decided
        return result

    @classmethod
    def by_value(cls, classes: ClassTable) -> "Categories":
        """Of label maps: the values are the classes in their order, or else the numbers of a class map.

        Raises UserError where it has numbers that cannot be values of classes.
        """
        entries = classes.entries()
        numbers = {category: value for value, category in entries if isinstance(category, int)}
        if classes == CLOTHES or not numbers:
            table = {value: (name, value) for value, name in enumerate(classes.names)}
            return cls(classes, table | PARTLY_KNOWN)
        names = [category for _, category in entries if isinstance(category, str)]
        if names:
            raise UserError(f"label maps have values, not names: give the class map numbers instead of {listed(names)}")
        if numbers.get(0):
            raise UserError(
                f"the class map has 0 in {classes.names[numbers[0]]}; its numbers are the values of label maps, where "
                "0 is background"
            )
        others = dict.fromkeys(range(1, SOME_CLOTHES), ("", 0))
        table = {0: ("", 0)} | others | PARTLY_KNOWN | {number: ("", value) for number, value in numbers.items()}
        return cls(classes, table, others.keys() - numbers.keys())

    def number_of(self, name: str) -> int:
        """Number of a category by its name. Other names than iMaterialist's get negative ones."""
        if (number := imaterialist_category(name)) is not None:
            return number
        number = self._number_of.setdefault(folded(name), NAMED - len(self._number_of))
        if number not in self.table:
            value = class_of_name(name) if self.classes == CLOTHES else None
            self.table[number] = (name, value or 0)
            self.undecided |= {number} if value is None else set()
        return number

    def check(self, masks: Counter[int], source: str) -> list[str]:
        """What the user should know of the categories. masks: how many there are of each.

        Raises UserError where masks would become background and nobody says that they are.
        """
        has_class = {self.table[number][1] for number in masks} - {0, UNKNOWN}
        undecided = listed(f"{self.table[n][0] or n} ({masks[n]} masks)" for n in masks if n in self.undecided)
        absent = listed(map(str, self.absent + [entry for n, entry in self.unlisted.items() if n not in masks]))
        if undecided and absent:
            reason = f"the class map names {absent}, which {source} does not have, but not {undecided}"
        elif undecided and not has_class:
            reason = f"no mask of {source} is of a class ({', '.join(self.classes.clothes)}), but there are {undecided}"
        elif undecided and self.classes == CLOTHES:
            reason = f"{source} has masks of unknown categories: {undecided}"
        else:
            reason = ""
        if reason:
            raise UserError(f"{reason}; give a class map with each of them under a class or under background")
        if self.classes == CLOTHES:
            return []
        without = [name for value, name in enumerate(self.classes.names) if value and value not in has_class]
        notes = [f"background, as the class map does not name them: {undecided}"] if undecided else []
        return notes + ([f"there are no masks of {', '.join(without)}"] if without else [])

    def as_text(self) -> list[str]:
        """The categories of each class, line by line; background only where categories have names."""
        of_class = {name: [] for name in self.classes.names}
        for number, (name, value) in self.table.items():
            if value < len(self.classes.names):
                of_class[self.classes.names[value]].append(f"{name} ({number})" if name else str(number))
        return [
            f"{name}: {listed(categories) or 'no category'}"
            for name, categories in of_class.items()
            if name != "background" or self.table.get(0, "named")[0]
        ]


def _matching(category: int | str, names: dict[int, str]) -> list[int]:
    """Numbers of the categories that a class map's entry means: by number, by name, by another of iMaterialist's."""
    if isinstance(category, int):
        return [category] if category in names else []
    same = [number for number, name in names.items() if folded(name) == folded(category)]
    if not same and (known := imaterialist_category(category)) is not None:
        same = [number for number, name in names.items() if imaterialist_category(name) == known]
    return same


def listed(names: Iterable[str], most: int = LISTED) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
