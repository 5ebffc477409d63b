"""Several sources: how they are declared, drawn and varied; tags; labels of a network."""

from collections import Counter
from dataclasses import asdict
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from data.classes import CLOTHES
from data.label_values import SOME_CLOTHES, UNKNOWN
from data.labels.imaterialist import COLUMNS
from data.labels.read import read_labels
from data.labels.rle import encode_rle
from data.labels.tags import load_tag_map, read_tags
from data.training.augmentation import TrainTransform, paste, portrait_box, turn
from data.training.sampler import Draw, MixedSampler
from data.training.samples import TrainingPhotos, close_up
from data.training.sources import Augmentation, read_sources, read_validation_sets
from scripts.pseudo_label import confident_labels, table_rows
from tests.helpers import ROOT
from utils.errors import UserError
from utils.files import write_csv

STREET = {"image_folder": "photos", "df_path": "labels.csv"}


def draws(count: int, start: int = 0, rank: int = 0, world_size: int = 1, **changes) -> list[Draw]:
    settings = {"lengths": [7, 3], "shares": [3, 1], "shuffle": True, "seed": 5} | changes
    return list(islice(iter(MixedSampler(**settings, rank=rank, world_size=world_size, start=start)), count))


def test_sources_are_drawn_by_their_shares():
    sources = Counter(draw.source for draw in draws(8000))
    assert sources[0] / 8000 == pytest.approx(0.75, abs=0.02)


def test_each_source_gives_all_its_photographs_before_one_comes_again():
    of_second = [draw for draw in draws(200) if draw.source == 1]
    for epoch in range(len(of_second) // 3):
        group = of_second[3 * epoch : 3 * epoch + 3]
        assert {draw.index for draw in group} == {0, 1, 2}
        assert {draw.epoch for draw in group} == {epoch}


def test_draws_go_on_from_any_point():
    straight = draws(3000)
    for start in (1, 1023, 1024, 2900):
        assert draws(50, start) == straight[start : start + 50]


def test_ranks_share_the_draws():
    both = [
        draw
        for pair in zip(draws(500, rank=0, world_size=2), draws(500, rank=1, world_size=2), strict=True)
        for draw in pair
    ]
    assert both == draws(1000)
    assert draws(10, start=100, rank=1, world_size=2) == both[201:221:2]


def test_sources_take_the_common_augmentation_unless_they_say_otherwise():
    content = {"street": STREET, "products": STREET | {"share": 2, "trust": 0.5, "turns": 0.1, "min_crop_area": 0.5}}
    street, products = read_sources(content, Augmentation("full", 0.3, 0.2), "data")
    assert (street.image_folder, street.share, street.trust) == ("data/photos", 1.0, 1.0)
    assert street.how == Augmentation("full", 0.3, 0.2)
    assert products.how == Augmentation("full", 0.5, 0.2, turns=0.1)
    assert (products.share, products.trust) == (2, 0.5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"df_path": None}, "df_path is None"),
        ({"sahre": 1}, "unknown setting sahre"),
        ({"share": 0}, "share is 0"),
        ({"trust": 1.5}, "trust is 1.5"),
        ({"portraits": True}, "portraits is True"),
        ({"tags": "tags.csv"}, "belong together"),
    ],
)
def test_mistakes_in_a_source_are_one_line(settings, words):
    with pytest.raises(UserError, match=words):
        read_sources({"street": STREET | settings}, Augmentation("full"))


def test_mistakes_in_a_recipe_name_the_place():
    with pytest.raises(UserError, match="sources: street lacks df_path"):
        read_sources({"street": {"image_folder": "photos"}}, Augmentation())
    with pytest.raises(UserError, match="portraits needs --augment full"):
        read_sources({"street": STREET | {"portraits": 0.1}}, Augmentation())
    with pytest.raises(UserError, match="sources must map names"):
        read_sources({"street": 3}, Augmentation())
    with pytest.raises(UserError, match="validation: street: close_ups is 1"):
        read_validation_sets({"street": STREET | {"close_ups": 1}})


@pytest.fixture
def tag_map(tmp_path):
    path = tmp_path / "tags.yml"
    path.write_text("upper: [shirt, suit]\nlower: [jeans, suit]\nfull: [dress]\n")
    return path


def test_tags_say_which_classes_can_be_there(tag_map, tmp_path):
    (tmp_path / "tags.csv").write_text("ImageId,Tags\na.jpg,hair shirt\nb.jpg,suit\nc.jpg,\na.jpg,dress\n")
    tags = read_tags(str(tmp_path / "tags.csv"), CLOTHES, str(tag_map))
    assert tags.of("a.jpg").tolist() == [True, True, False, True]
    assert tags.of("b.jpg").tolist() == [True, True, True, False]
    assert tags.of("c.jpg").tolist() == [True, False, False, False]
    assert tags.of("unheard-of.jpg").all()
    assert tags.check(["a.jpg", "unheard-of.jpg"], "tags.csv") == 1
    with pytest.raises(UserError, match="tags.csv has no tags for any .* it names a.jpg, they .* a.png"):
        tags.check(["a.png", "b.png"], "tags.csv")


def test_mistakes_in_tags_are_one_line(tag_map, tmp_path):
    with pytest.raises(UserError, match="no table of tags"):
        read_tags(str(tmp_path / "none.csv"), CLOTHES, str(tag_map))
    (tmp_path / "tags.csv").write_text("ImageId,Words\na.jpg,shirt\n")
    with pytest.raises(UserError, match="it needs ImageId, Tags"):
        read_tags(str(tmp_path / "tags.csv"), CLOTHES, str(tag_map))
    for content in ("uper: [shirt]", "upper: shirt", "upper: [1]", "[", "upper: [two words]"):
        tag_map.write_text(content)
        with pytest.raises(UserError, match="tag map"):
            load_tag_map(str(tag_map), CLOTHES)


def test_the_recipes_tags_name_every_class():
    meanings = load_tag_map(str(ROOT / "recipes/tags.yml"), CLOTHES)
    assert meanings["Outwear"] == {1, 3}
    assert {value for values in meanings.values() for value in values} == {1, 2, 3}


PROBABILITY = np.array(  # of 5 pixels in a row: background, upper, lower, full
    [[0.9, 0.1, 0.1, 0.44, 0.05], [0.1, 0.8, 0.2, 0.31, 0.05], [0, 0.1, 0.2, 0.05, 0.05], [0, 0, 0.5, 0.2, 0.85]],
    np.float32,
)[:, None]


def test_a_network_labels_where_it_is_sure():
    labels = confident_labels(PROBABILITY, [True] * 4, 0.6, 0.8)
    assert labels.tolist() == [[0, 1, SOME_CLOTHES, UNKNOWN, 3]]


def test_tags_turn_what_it_takes_for_absent_into_what_can_be_there():
    labels = confident_labels(PROBABILITY, [True, True, False, False], 0.6, 0.8)
    assert labels.tolist() == [[0, 1, 1, UNKNOWN, SOME_CLOTHES]]
    labels = confident_labels(PROBABILITY, [True, False, False, False], 0.6, 0.8)
    assert labels.tolist() == [[0, UNKNOWN, UNKNOWN, 0, UNKNOWN]]


def test_a_label_map_survives_its_table(tmp_path):
    labels = np.zeros((6, 5), np.uint8)
    labels[0], labels[1], labels[2, :3], labels[5] = 1, 3, SOME_CLOTHES, UNKNOWN
    (tmp_path / "photos").mkdir()
    for name in ("a, b.jpg", "empty.jpg"):
        Image.new("RGB", (5, 6)).save(tmp_path / "photos" / name)
    rows = table_rows("a, b.jpg", labels, CLOTHES) + table_rows("empty.jpg", np.zeros_like(labels), CLOTHES)
    write_csv(tmp_path / "labels.csv", [COLUMNS, *rows])
    table = read_labels(str(tmp_path / "labels.csv"), str(tmp_path / "photos"), CLOTHES)
    assert not table.skipped.count
    np.testing.assert_array_equal(table.label_map(0), labels)
    assert len(table) == 2 and not table.label_map(1).any()


def test_a_known_class_wins_over_words(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.jpg")
    everything = encode_rle(np.ones((2, 2), bool))
    rows = [
        ("a.jpg", everything, 2, 2, "unknown"),
        ("a.jpg", everything, 2, 2, "clothes"),
        ("a.jpg", "1 2", 2, 2, "10"),
    ]
    write_csv(tmp_path / "labels.csv", [COLUMNS, *rows])
    table = read_labels(str(tmp_path / "labels.csv"), str(tmp_path), CLOTHES)
    assert table.label_map(0).tolist() == [[3, SOME_CLOTHES], [3, SOME_CLOTHES]]


def test_a_sample_says_how_far_it_is_trusted_and_what_it_can_hold(dolls, tag_map, tmp_path):
    table = read_labels(str(dolls.df_path), str(dolls.image_folder), CLOTHES)
    write_csv(tmp_path / "tags.csv", [("ImageId", "Tags"), (table.files[0].name, "dress")])
    tags = read_tags(str(tmp_path / "tags.csv"), CLOTHES, str(tag_map))
    how = Augmentation("full", portraits=0.3, rotations=0.3, turns=0.2, pastes=0.5)
    photos = TrainingPhotos(table, TrainTransform((64, 48), 0.5, 0.5, **asdict(how)), 4, 0, 0.7, tags)
    sample = photos[Draw(0, 0, 0)]
    assert (tuple(sample.image.shape), tuple(sample.label.shape)) == ((3, 64, 48), (64, 48))
    assert sample.weight == pytest.approx(0.7)
    assert sample.present.tolist() == [True, False, False, True]
    assert photos[Draw(0, 1, 0)].present.all()
    again = photos[Draw(0, 0, 0)]
    assert torch.equal(sample.image, again.image) and torch.equal(sample.label, again.label)
    assert not torch.equal(sample.image, photos[Draw(0, 0, 1)].image)
    assert not torch.equal(sample.image, photos[Draw(1, 0, 0)].image)


def picture(label: np.ndarray) -> Image.Image:
    """A photo whose red is 200 on clothes and 0 elsewhere."""
    return Image.fromarray(np.stack([np.where(label > 0, 200, 0), 0 * label, 0 * label], 2).astype(np.uint8))


def test_photo_and_label_turn_together():
    label = np.zeros((60, 90), np.uint8)
    label[10:50, 20:40] = 1
    for degrees in (10, -30, 90, 200):
        photo, turned = turn(picture(label), label, (60, 90), degrees)
        red = np.asarray(photo)[..., 0] > 100
        assert np.mean(red == (turned > 0)) > 0.98
        assert turned.any()


def test_a_turn_undoes_the_squeeze_first():
    stored = np.zeros((200, 100), np.uint8)  # twice as high as wide, with a bar down the middle
    stored[20:180, 45:55] = 1
    squeezed = np.ascontiguousarray(stored[::2])  # 100 x 100
    turned = turn(picture(squeezed), squeezed, (200, 100), 30)[1]
    rows, columns = np.nonzero(turned)
    slope = np.polyfit((rows - 49.5) * 2, columns - 49.5, 1)[0]
    assert abs(slope) == pytest.approx(np.tan(np.radians(30)), rel=0.08)


def test_a_portrait_crop_is_about_what_close_ups_are_compared_on():
    label = np.zeros((400, 200), np.uint8)
    label[100:340, 60:140] = 1
    photo, cut = close_up(picture(label), label)
    boxes = [portrait_box(label, label.shape) for _ in range(1000)]
    widths = np.mean([right - left for left, _, right, _ in boxes])
    heights = np.mean([bottom - top for _, top, _, bottom in boxes])
    assert widths == pytest.approx(cut.shape[1], rel=0.15)
    assert heights == pytest.approx(cut.shape[0], rel=0.15)
    assert portrait_box(np.zeros((400, 200), np.uint8), (400, 200)) is None


def test_pasted_garments_bring_their_labels():
    label, other = np.zeros((80, 60), np.uint8), np.zeros((50, 50), np.uint8)
    other[5:45, 10:40], other[:3] = 2, UNKNOWN
    photo, labels = paste(Image.new("RGB", (60, 80)), label, picture(other), other)
    assert set(np.unique(labels)) == {0, 2}
    red = np.asarray(photo)[..., 0] > 100
    assert np.mean(red == (labels == 2)) > 0.97
