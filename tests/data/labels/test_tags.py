"""Tags: which classes can be on a photo."""

import pytest

from data.classes import CLOTHES
from data.labels.tags import count_tagged, load_tag_map, read_tags
from tests.helpers import ROOT
from utils.errors import UserError


@pytest.fixture
def tag_map(tmp_path):
    path = tmp_path / "tags.yml"
    path.write_text("upper: [shirt, suit]\nlower: [jeans, suit]\nfull: [dress]\n")
    return path


def test_tags_say_which_classes_can_be_there(tag_map, tmp_path):
    rows = 'a.jpg,hair SHIRTS\nb.jpg,"hat,\nsuit"\né.jpg,\na.jpg,dress\n'
    (tmp_path / "tags.csv").write_text(f"ImageId,Tags\n{rows}", encoding="utf-8")
    tags = read_tags(str(tmp_path / "tags.csv"), CLOTHES, str(tag_map))
    assert {name: present.tolist() for name, present in tags.items()} == {
        "a.jpg": [True, True, False, True], "b.jpg": [True, True, True, False], "é.jpg": [True, False, False, False],
    }  # fmt: skip
    assert count_tagged(tags, ["A.jpg", "e\u0301.jpg", "unheard-of.jpg"], "tags.csv") == 2
    with pytest.raises(
        UserError, match="tags.csv has no tags for any .* it has names like a.jpg, .* named like .*a.png"
    ):
        count_tagged(tags, ["a.png", "b.png"], "tags.csv")


def test_mistakes_in_tags_are_one_line(tag_map, tmp_path):
    with pytest.raises(UserError, match="no table of tags"):
        read_tags(str(tmp_path / "none.csv"), CLOTHES, str(tag_map))
    (tmp_path / "tags.csv").write_text("ImageId,Words\na.jpg,shirt\n")
    with pytest.raises(UserError, match="it needs ImageId, Tags"):
        read_tags(str(tmp_path / "tags.csv"), CLOTHES, str(tag_map))
    for rows, words in (
        ("a.jpg,shirt,jeans", "row 1 has more cells than the header"), ("a.jpg", "row 1 has too few cells"),
        ("a.jpg,hat", "no tag of .* stands in the tag map"), ('a.jpg,"shirt\nb.jpg,jeans', "row 1 opens a quote"),
    ):  # fmt: skip
        (tmp_path / "tags.csv").write_text(f"ImageId,Tags\n{rows}\n")
        with pytest.raises(UserError, match=words):
            read_tags(str(tmp_path / "tags.csv"), CLOTHES, str(tag_map))
    for content in ("uper: [shirt]", "upper: shirt", "upper: [1]", "[", "upper: [two words]"):
        tag_map.write_text(content)
        with pytest.raises(UserError, match="tag map"):
            load_tag_map(str(tag_map), CLOTHES)


def test_the_recipes_tags_name_every_class():
    meanings = load_tag_map(str(ROOT / "recipes/tags.yml"), CLOTHES)
    assert meanings["outwear"] == {1, 3}
    assert {value for values in meanings.values() for value in values} == {1, 2, 3}
