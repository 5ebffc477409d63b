"""Class tables: the published one, and maps of the user, read in their order or refused in one line."""

import json

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
from data.label_values import PALETTE
from utils.errors import UserError


def test_categories_are_iMaterialists_46_and_agree_with_the_class_table():
    assert len(IMATERIALIST_CATEGORIES) == len(set(IMATERIALIST_CATEGORIES)) == 46
    named = {
        name: [IMATERIALIST_CATEGORIES[i] for i in ids] for name, ids in zip(CLOTHES.clothes, CLOTHES.ids, strict=True)
    }
    assert named == {
        "upper": ["shirt, blouse", "top, t-shirt, sweatshirt", "sweater", "cardigan", "jacket", "vest"],
        "lower": ["pants", "shorts", "skirt"],
        "full": ["coat", "dress", "jumpsuit", "cape"],
    }
    assert IMATERIALIST_CATEGORIES[23] == "shoe"


def test_no_class_map_is_the_published_table_in_the_published_colours():
    assert load_class_table(None) == CLOTHES
    assert CLOTHES.names == ("background", "upper", "lower", "full")
    assert PALETTE[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert PALETTE.shape == (256, 3) and len({tuple(colour) for colour in PALETTE.tolist()}) == 256


@pytest.mark.parametrize("suffix", ["yml", "yaml", "json"])
def test_class_map_is_read_in_its_order_of_precedence(tmp_path, suffix):
    content = {"dress": [10], "top": ["1", 0.0], "hat": [14, 99], "background": ["shoe", 13]}
    path = tmp_path / f"map.{suffix}"
    path.write_text(
        json.dumps(content) if suffix == "json" else "dress: [10]\ntop: [1, 0]\nhat: [14, 99]\nbackground: [shoe, 13]"
    )
    table = load_class_table(str(path))
    assert table == ClassTable(("dress", "top", "hat"), ((10,), (1, 0), (14, 99)), ("shoe", 13))
    assert table.names == ("background", "dress", "top", "hat")


@pytest.mark.parametrize("names", [("T-Shirts", "tshirt", "T_SHIRT"), ("dresses", "Dress")])
def test_names_are_compared_whatever_their_spelling(names):
    assert len(set(map(folded, names))) == 1
    assert len({folded(name) for name in ("left shoe", "right shoe", "glasses", "gloves", "s", "")}) == 6


MUST_MAP = r"class map .*map\.yml must map 1 to 253 class names .*to lists of category ids or names"
INVALID = r"class map .*map\.yml is neither valid YAML nor valid JSON"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        *((text, MUST_MAP) for text in (
            "", "just words", "[1, 2]", "{}", "{upper: 1}", "{upper: []}", "{upper: [-1]}", "{upper: [1.5]}",
            "{upper: [true]}", "{upper: [[1]]}", "{1: [1]}", "{background: [1]}", "{tops/shirts: [1]}",
            "{'..\\\\x': [1]}", "{'': [1]}",
            "{" + ", ".join(f"c{i}: [{i}]" for i in range(MAX_CLASSES + 1)) + "}",
        )),
        ("{any: [1]}", "has a class named any; the name is reserved"),
        ("{upper: [0], lower: [0]}", "names category 0 twice"),
        ("{upper: [0], background: [0]}", "names category 0 twice"),
        ("{upper: [Top, top]}", "names category top twice"),
        ("{upper: [0", INVALID),
        ("a: b: c", INVALID),
        ("!!python/object/apply:os.system ['touch ran']", INVALID),
        (bytes(range(256)), INVALID),
        (None, r"cannot read the class map .*map\.yml"),
    ],
    ids=lambda text: str(text)[:20],
)  # fmt: skip
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
