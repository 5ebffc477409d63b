"""Class tables: the published one, and maps of the user, read in their order or refused in one line."""

import pytest

from data.classes import (
    CLOTHES,
    IMATERIALIST_CATEGORIES,
    MAX_CLASSES,
    ClassTable,
    check_classes,
    folded,
    load_class_table,
)
from utils.errors import UserError
from utils.label_values import PALETTE


def test_no_class_map_is_iMaterialists_supercategories_in_the_published_colours():
    classes = load_class_table(None)
    assert classes.names == ("background", "upper", "lower", "full")
    assert [[IMATERIALIST_CATEGORIES[i] for i in ids] for ids in classes.ids] == [
        ["shirt, blouse", "top, t-shirt, sweatshirt", "sweater", "cardigan", "jacket", "vest"],
        ["pants", "shorts", "skirt"],
        ["coat", "dress", "jumpsuit", "cape"],
    ]
    assert (len(set(IMATERIALIST_CATEGORIES)), IMATERIALIST_CATEGORIES[23]) == (46, "shoe")
    assert PALETTE[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert PALETTE.shape == (256, 3) and len({tuple(colour) for colour in PALETTE.tolist()}) == 256


@pytest.mark.parametrize(("file", "text"), [
    ("map.yml", "dress: [10]\ntop: [1, 0]\nhat: [14, cap]\nbackground: [shoe, 13]"),
    ("map.json", '{"dress": [10],\n\t"top": ["1", 0.0], "hat": [14, "cap"], "background": ["shoe", 13]}'),
])  # fmt: skip
def test_class_map_is_read_in_its_order_of_precedence(tmp_path, file, text):
    (tmp_path / file).write_text("\ufeff" + text, encoding="utf-8")  # with a mark in front, as Windows writes it
    table = load_class_table(str(tmp_path / file))
    assert table == ClassTable(("dress", "top", "hat"), ((10,), (1, 0), (14, "cap")), ("shoe", 13))


def test_names_are_compared_whatever_their_spelling():
    assert folded("T-Shirts") == folded("tshirt") == folded("T_SHIRT") and folded("dresses") == folded("Dress")
    assert len({folded(name) for name in ("left shoe", "right shoe", "glasses", "gloves", "s", "")}) == 6


MUST_MAP = r"class map .*map\.yml must map 1 to 253 class names .*to lists of category ids or names"
INVALID = r"class map .*map\.yml is not valid YAML: "


@pytest.mark.parametrize(("text", "words"), [
    *((text, MUST_MAP) for text in (
        "", "[1, 2]", "{}", "{upper: 1}", "{upper: []}", "{upper: [-1]}", "{upper: [1.5]}", "{upper: [true]}",
        "{1: [1]}", "{background: [1]}", "{tops/shirts: [1]}", "{'': [1]}", '{"a\\nb": [1]}',
        "{" + ", ".join(f"c{i}: [{i}]" for i in range(MAX_CLASSES + 1)) + "}",
    )),
    ("{any: [1]}", "has a class named any; the name is reserved"),
    ("{upper: [0], background: [0]}", "names category 0 twice"), ("{upper: [Top, top]}", "names category top twice"),
    ("{upper: [0", INVALID + "line 1: expected"), ("!!python/object/apply:os.system ['touch ran']", INVALID),
    (b"\xff\xfe", INVALID), ("top: [0]\nlow: [6]\ntop: [1]", INVALID + "line 3: top stands twice"),
    ("[" * 9999, INVALID), ("a: [0]\n<<: {b: [1]}\n<<: {c: [1]}", "category 1 twice"),
    (None, r"cannot read the class map .*map\.yml"),
], ids=lambda text: str(text)[:20])  # fmt: skip
def test_a_bad_class_map_is_refused_in_one_line(tmp_path, monkeypatch, text, words):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "map.yml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=words) as caught:
        load_class_table(str(path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_that_numbers_its_classes_takes_as_many_names_from_the_table():
    assert check_classes(CLOTHES, ("0", "1", "2", "3"), "x.pth") == CLOTHES.names
    with pytest.raises(UserError, match="3 classes 0, 1, 2"):
        check_classes(CLOTHES, ("0", "1", "2"), "x.pth")
