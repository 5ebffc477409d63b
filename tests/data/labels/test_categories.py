"""Categories become classes by known names or by a class map, and none becomes background unsaid."""

from collections import Counter

import pytest

from data.classes import CLOTHES, ClassTable
from data.labels.categories import Categories
from utils.errors import UserError

DATA_SETS = {
    "Fashionpedia": """shirt, blouse: upper; top, t-shirt, sweatshirt: upper; sweater: upper; cardigan: upper;
        jacket: upper; vest: upper; pants: lower; shorts: lower; skirt: lower; coat: full; dress: full; jumpsuit: full;
        cape: full; glasses: -; headband, head covering, hair accessory: -; leg warmer: -; tights, stockings: -;
        bag, wallet: -; hood: -; sleeve: -; applique: -; tassel: -""",
    "DeepFashion2": """short sleeve top: upper; long sleeve top: upper; short sleeve outwear: upper;
        long sleeve outwear: upper; vest: upper; sling: upper; shorts: lower; trousers: lower; skirt: lower;
        short sleeve dress: full; long sleeve dress: full; vest dress: full; sling dress: full""",
    "ModaNet": """bag: -; belt: -; boots: -; footwear: -; outer: upper; dress: full; sunglasses: -; pants: lower;
        top: upper; shorts: lower; skirt: lower; headwear: -; scarf & tie: -; scarf/tie: -""",
    "CCP": """null: -; hair: -; skin: -; blazer: upper; jeans: lower; leggings: lower; romper: full; bodysuit: full;
        jumper: upper; hoodie: upper; suit: upper; purse: -; heels: -; loafers: -; pumps: -; flats: -; wedges: -""",
    "ATR": """hat: -; hair: -; sunglasses: -; upper-clothes: upper; skirt: lower; pants: lower; dress: full; belt: -;
        left-shoe: -; right-shoe: -; face: -; left-leg: -; right-arm: -; bag: -; scarf: -""",
    "LIP": """Hat: -; Glove: -; UpperClothes: upper; Dress: full; Coat: full; Socks: -; Jumpsuits: full; Scarf: -;
        Left-arm: -; Right-shoe: -""",
    "CIHP": "Torso-skin: -; Upper-clothes: upper",
    "MHP": """Cap/hat: -; Helmet: -; Left-hand: -; Protector: -; Bikini/bra: upper; Jacket/windbreaker/hoodie: upper;
        Tee-shirt: upper; Polo-shirt: upper; Singlet: upper; Shorts/swim-shorts: lower; Left-highheel: -; Robe: full;
        Other-full-body-clothes: full; Headware: -; Wallet/purse: -; Other-accessary: -; Eyeware: -;
        Other-upper-body-clothes: upper; Other-lower-body-clothes: lower""",
    "plain words": """Tops: upper; top wear: upper; Topwear: upper; bottoms: lower; BOTTOM_WEAR: lower; T-Shirts: upper;
        dresses: full; Full body: full; upper_body: upper; lower garment: lower; background: -; one-piece: full""",
}


@pytest.mark.parametrize("data_set", DATA_SETS)
def test_the_names_of_well_known_data_sets_are_known(data_set):
    expected = [entry.strip().rsplit(": ", 1) for entry in DATA_SETS[data_set].replace("\n", " ").split(";")]
    names = {number: " ".join(name.split()) for number, (name, _) in enumerate(expected, 7)}
    categories = Categories.by_name(CLOTHES, names, "the file")
    found = [CLOTHES.names[value].replace("background", "-") for _, value in categories.table.values()]
    assert found == [name for _, name in expected]
    assert categories.undecided == set()


def test_iMaterialists_supercategories_make_the_classes():
    table = Categories.by_imaterialist(CLOTHES).table
    assert [table[number][1] for number in range(46)] == [1] * 6 + [2] * 3 + [3] * 4 + [0] * 33


NAMES = {1: "shirt", 2: "shoe", 3: "frock", 4: "sari"}
TOPS, SHOES = ClassTable(("tops",), (("shirt",),)), ClassTable(("tops", "shoes"), ((0, 1), (23,)))


def by_name(classes: ClassTable) -> Categories:
    return Categories.by_name(classes, NAMES, "the file")


@pytest.mark.parametrize(("categories", "masks", "words"), [
    (by_name(CLOTHES), {1: 5, 3: 2, 4: 1}, r"has masks of unknown categories: frock \(2 masks\), sari \(1 masks\)"),
    (by_name(CLOTHES), {2: 5, 3: 2}, r"no mask of the file is of a class \(upper, lower, full\), but .* frock"),
    (by_name(TOPS), {2: 5, 3: 2}, r"no mask of the file is of a class \(tops\), but there are shoe .*, frock"),
    (by_name(ClassTable(("tops",), (("shirt", "shrit"),))), {1: 1, 3: 2}, "names shrit, which the file does not have"),
    (by_name(ClassTable(("tops",), (("shirt", 9),))), {1: 1, 2: 2}, r"names 9, .* but not shoe \(2 masks\)"),
    (by_name(ClassTable(("tops", "wraps"), (("shirt",), ("saree",)))), {1: 1, 4: 2}, "saree, .* but not sari"),
    (Categories.by_imaterialist(SHOES), {10: 3}, r"no mask .* \(tops, shoes\), but there are dress \(3 masks\)"),
    (Categories.by_imaterialist(ClassTable(("tops", "x"), ((0,), (230,)))), {0: 1, 23: 4}, "230, .* but not shoe"),
    (Categories.by_imaterialist(ClassTable(("x",), (("dirndl",),))), {1: 4}, "names dirndl, .* but not top"),
    (Categories.by_value(ClassTable(("tops",), ((5,),))), {6: 3, 13: 1}, r"there are 6 \(3 masks\), 13 \("),
])  # fmt: skip
def test_masks_become_background_only_where_somebody_says_so(categories, masks, words):
    with pytest.raises(UserError, match=words) as error:
        categories.check(Counter(masks), "the file")
    assert str(error.value).endswith("give a class map with each of them under a class or under background")


@pytest.mark.parametrize(("categories", "masks", "notes"), [
    (by_name(CLOTHES), {1: 5, 2: 7}, []), (by_name(CLOTHES), {2: 7}, []),  # shoes are known to be none of the classes
    (by_name(TOPS), {1: 1, 3: 2}, ["background, as the class map does not name them: frock (2 masks)"]),
    (by_name(ClassTable(("tops",), (("shirt", "shrit"),), (3, "shoe", "cap"))), {1: 1, 2: 9, 3: 2}, []),
    (Categories.by_imaterialist(CLOTHES), {23: 9}, []),
    (Categories.by_imaterialist(SHOES), {23: 9}, ["there are no masks of tops"]),
    (Categories.by_imaterialist(CLOTHES), {}, []),
])  # fmt: skip
def test_what_is_left_out_by_a_class_map_is_said(categories, masks, notes):
    assert categories.check(Counter(masks), "the file") == notes


@pytest.mark.parametrize(("classes", "words"), [
    (ClassTable(("a", "b"), ((5,), ("shirt", "skirt"))), "have values, not names: .* instead of shirt, skirt"),
    (ClassTable(("a",), ((0, 1),)), "has 0 in a; its numbers are the values of label maps, where 0 is background"),
])  # fmt: skip
def test_a_class_map_that_cannot_be_one_of_values_is_refused(classes, words):
    with pytest.raises(UserError, match=words):
        Categories.by_value(classes)
