"""Several sources: how a recipe declares them."""

import pytest

from data.training.sources import Augmentation, Source, read_sources, read_validation_sets
from utils.errors import UserError

STREET = {"image_folder": "photos", "df_path": "labels.csv"}
WALLS = {"image_folder": "walls", "no_clothes": True}


def test_sources_take_the_common_augmentation_unless_they_say_otherwise():
    common, varied = Augmentation("full", 0.3, 0.2), Augmentation("full", 0.5, 0.2, turns=0.1)
    content = {"street": STREET, "products": STREET | {"share": 2, "trust": 0.5, "turns": 0.1, "min_crop_area": 0.5}}
    assert read_sources(content, common, "data") == [
        Source("street", "data/photos", "data/labels.csv", augmentation=common),
        Source("products", "data/photos", "data/labels.csv", 2, 0.5, augmentation=varied),
    ]  # fmt: skip


def test_a_folder_without_clothes_has_no_table():
    (source,) = read_sources({"walls": WALLS}, Augmentation())
    (photos,) = read_validation_sets({"walls": WALLS}, "data")
    assert (source.image_folder, source.df_path) == ("walls", None)
    assert (photos.image_folder, photos.df_path) == ("data/walls", None)


@pytest.mark.parametrize(("settings", "words"), [
    (STREET | {"df_path": None}, "sources: street: df_path is None; it must be text"),
    (STREET | {"sahre": 1}, "unknown setting sahre"), (STREET | {"share": 0}, "share is 0"),
    (STREET | {"share": float("inf")}, "share is inf"), (STREET | {"trust": 1.5}, "trust is 1.5"),
    (STREET | {"portraits": True}, "portraits is True; it must be a number"),
    (STREET | {"empty_crops": 2}, "empty_crops is 2"), (STREET | {"tags": "tags.csv"}, "belong together"),
    (STREET | {"close_ups": 0.1, "min_crop_area": 0.02}, "sources: street: min_crop_area must be over 0.03"),
    (STREET | {"min_crop_area": 0}, "sources: street: min_crop_area must be over 0"),
    (STREET | WALLS, "df_path and no_clothes exclude each other"),
    (WALLS | {"no_clothes": "yes"}, "no_clothes is 'yes'"),
    ({"image_folder": "photos"}, "sources: street lacks df_path.*no_clothes: true"),
    ({"df_path": "labels.csv"}, "lacks image_folder"), (3, "sources must map names"),
])  # fmt: skip
def test_mistakes_in_a_source_name_the_place(settings, words):
    with pytest.raises(UserError, match=words):
        read_sources({"street": settings}, Augmentation("full"))


def test_mistakes_elsewhere_in_a_recipe_name_the_place():
    with pytest.raises(UserError, match="portraits needs --augment full"):
        read_sources({"street": STREET | {"portraits": 0.1}}, Augmentation())
    with pytest.raises(UserError, match="validation: street: close_ups is 1"):
        read_validation_sets({"street": STREET | {"close_ups": 1}})
