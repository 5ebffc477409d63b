"""Rendered people: what a seed shows, what garments are, labels, resuming; a picture where bpy is installed."""

import csv
import io
import json
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from data.classes import CLOTHES
from scripts.render_people import output_folder as output
from scripts.render_people.__main__ import usable
from scripts.render_people.body import Assets, pieces, posed
from scripts.render_people.encode import CODE_HEIGHTS, jpeg, label_map
from scripts.render_people.garments import ASSETS, COAT, DRESS, HELD_OUT, ONE_PIECE, PANTS, SKIRT, SPLIT, TOP, Cut
from scripts.render_people.plan import VIEWS, plan
from scripts.render_people.tailoring import Tailor
from tests.helpers import ROOT, encoded_photo, flags_of, shared
from utils.errors import UserError
from utils.label_values import SOME_CLOTHES

PLANS = [plan(5, number) for number in range(400)]


def test_a_seed_and_a_number_always_show_the_same_whatever_was_drawn_before():
    assert [plan(5, number) for number in (399, 7, 0)] == [PLANS[399], PLANS[7], PLANS[0]]
    assert len({json.dumps(p.row()) for p in PLANS}) == len(PLANS)
    assert plan(6, 0).people != PLANS[0].people


def test_every_kind_of_picture_is_drawn_about_as_often_as_the_table_says_and_every_garment_worn():
    views = Counter(p.view for p in PLANS)
    for view, percent in VIEWS.items():
        assert abs(views[view] / len(PLANS) - percent / 100) < 0.08, view
    worn = Counter(c for p in PLANS for person in p.people for g in person.garments for c in g.categories)
    assert min(worn[c] for c in (COAT, DRESS, SKIRT, PANTS, TOP)) > 0.05 * len(PLANS)


def test_cloth_of_sitting_people_is_tailored_narrow_and_no_coat():
    sitting = [person for p in PLANS for person in p.people if person.pose == "sitting"]
    hanging = [g for person in sitting for g in person.garments if {*g.categories} & {SKIRT, DRESS, COAT}]
    assert len(hanging) > 3
    assert all(g.cut and g.cut.flare <= 0.02 and COAT not in g.categories for g in hanging)


def test_a_suit_is_a_jacket_and_trousers():
    suits = [person for p in PLANS for person in p.people if person.outfit == "suit"]
    assert suits and not {c for person in suits for g in person.garments for c in g.categories} & {*ONE_PIECE}


def test_what_is_held_out_is_shown_in_validation_alone():
    def shown(plans: list) -> set[str]:
        people = [person for p in plans for person in p.people]
        garments = {g.name for person in people for g in person.garments}
        return garments | {person.hair for person in people} | {p.light["hdri"] for p in plans}

    held = HELD_OUT | {"short03", "bob02", "courtyard", "studio"}
    assert not shown(PLANS) & held
    assert held <= shown([plan(5, number, held_out=True) for number in range(400)])


def codes(*garments: tuple[int, int, float, float]) -> np.ndarray:
    """A code picture with a column for each garment: category, number, lowest and highest height that is seen."""
    low, high = CODE_HEIGHTS
    picture = np.zeros((200, len(garments), 3), np.uint8)
    for column, (category, number, bottom, top) in enumerate(garments):
        heights = np.linspace(top, bottom, 200)
        picture[:, column] = np.stack(
            [heights * 0 + category + 1, heights * 0 + number, (heights - low) / (high - low) * 255], 1
        )
    return picture


def test_a_garment_in_one_piece_that_is_cut_off_is_clothes_of_unknown_class():
    dress_whole, dress_chest, dress_legs = (DRESS, 1, -4, 5), (DRESS, 2, 1, 5), (DRESS, 3, -5, 0)
    top, trousers = (TOP, 4, 3, 5), (PANTS, 5, -7, -3)
    labels = label_map(codes(dress_whole, dress_chest, dress_legs, top, trousers), CLOTHES.by_category)
    assert labels.shape == (200, 5)
    assert [np.unique(column).tolist() for column in labels.T] == [[3], [SOME_CLOTHES], [SOME_CLOTHES], [1], [2]]
    assert not label_map(codes(dress_chest), dict.fromkeys(range(46), 0)).any()  # other classes, where it is background


def test_the_camera_s_faults_are_those_of_the_seed_and_leave_the_size():
    photo = np.random.default_rng(0).integers(0, 256, (61, 47, 3), np.uint8)
    effects = {**PLANS[0].effects, "noise": 0.05, "motion": 3, "shrink": 0.6, "vignette": 0.3}
    content = jpeg(photo, effects)
    assert content == jpeg(photo, effects) != jpeg(photo, {**effects, "seed": effects["seed"] + 1})
    assert Image.open(io.BytesIO(content)).size == (47, 61)


@pytest.mark.parametrize("motion", [3, 4])
def test_a_camera_that_moves_leaves_the_middle_of_things_where_their_labels_are(motion):
    photo = np.zeros((40, 60, 3), np.uint8)
    photo[:, 20:30] = 255
    effects = dict.fromkeys(("blur", "saturation", "warmth", "vignette", "noise"), 0)
    effects |= {"seed": 0, "shrink": 1, "dark": 1, "gamma": 1, "quality": 100, "motion": motion}
    brightness = np.asarray(Image.open(io.BytesIO(jpeg(photo, effects))).convert("L")).mean(0)
    assert abs(np.average(np.arange(60) + 0.5, weights=brightness) - 25) < 0.1


def test_a_run_goes_on_where_it_stopped(tmp_path):
    names = [f"0_{i}" for i in range(7)]
    for i in (0, 4):
        output.write(tmp_path, names[i], b"jpeg", np.full((2, 3), i, np.uint8), PLANS[i].row(), "height 9")
    (tmp_path / "photos" / "0_5.jpg").write_bytes(b"a photograph whose labels were not written")
    assert [i for i, name in enumerate(names) if not output.is_done(tmp_path, name, "height 9")] == [1, 2, 3, 5, 6]
    with pytest.raises(UserError, match="was made with height 9, not height 8; choose another --output_dir"):
        output.is_done(tmp_path, names[0], "height 8")
    assert output.write_table(tmp_path) == 2
    with (tmp_path / "rendered.csv").open(newline="") as file:
        assert [row["ImageId"] for row in csv.DictReader(file)] == [PLANS[i].row()["ImageId"] for i in (0, 4)]
    (tmp_path / "photos" / f"{names[4]}.jpg").unlink()
    assert not output.is_done(tmp_path, names[4], "height 9")
    for content in (b"", encoded_photo(), encoded_photo(kind="JPEG")):
        (tmp_path / "labels/other.png").write_bytes(content)
        with pytest.raises(UserError, match="other.png was not made by this program"):
            output.write_table(tmp_path)


def test_backgrounds_that_cannot_be_read_are_named_and_left_out(tmp_path, capsys):
    for name, content in {"a.png": encoded_photo(), "b.jpg": b"no photo"}.items():
        (tmp_path / name).write_bytes(content)
    assert usable([tmp_path / "a.png", tmp_path / "b.jpg"]) == [tmp_path / "a.png"]
    assert "b.jpg: not an image" in capsys.readouterr().err
    with pytest.raises(UserError, match="none of the 1 photos of --backgrounds can be read"):
        usable([tmp_path / "b.jpg"])


@pytest.fixture(scope="module")
def assets() -> Assets:
    return Assets(shared("data/makehuman"))


def test_the_table_of_garments_has_a_category_for_every_piece(assets):
    for name, categories in ASSETS.items():
        if isinstance(categories, tuple) and name not in SPLIT:
            assert pieces(assets.fitted("clothes", name, assets.base)).max() + 1 == len(categories), name


def test_tailored_garments_end_where_their_shape_says(assets):
    body, tailor = assets.body("female", "young", "asian", "average", "average"), Tailor(assets)
    long = tailor.garment(Cut(-5.0, neck=("round", 1.0, 0.5), sleeve=2.0), body)
    assert abs(long.neutral[:, 1].min() + 5.0) < 0.01 and abs(long.neutral[:, 0]).max() > 3.5
    strapless = tailor.garment(Cut(-2.0, top=4.5), body)
    assert abs(strapless.neutral[:, 1].max() - 4.5) < 0.01 and abs(strapless.neutral[:, 0]).max() < 2.6
    coat = tailor.garment(Cut(-4.0, neck=("v", 0.6, 1.0), sleeve=2.0, opening=(0.3, 1.0)), body)
    assert not ((abs(coat.neutral[:, 0]) < 0.25) & (coat.neutral[:, 2] > 0.5) & (coat.neutral[:, 1] < 4)).any()
    assert long.hidden.sum() > strapless.hidden.sum() > 1000


def test_turned_bones_take_their_part_of_the_body_with_them(assets):
    moved = posed(assets.part("body", assets.base), assets.pose(assets.base, {"upperarm01.L": [("z", 90)]})).points
    rise = {name: assets.joint(name, moved)[1] - assets.joint(name, assets.base)[1] for name in ("l-hand", "r-hand")}
    assert rise["l-hand"] > 3 and abs(rise["r-hand"]) < 1e-6


def run(*arguments: object) -> subprocess.CompletedProcess:
    """The program, in the environment that has bpy if BPY_PYTHON names one."""
    command = [PYTHON, "-m", "scripts.render_people", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)


PYTHON = os.environ.get("BPY_PYTHON", sys.executable)
HAS_BPY = subprocess.run([PYTHON, "-c", "import bpy"], capture_output=True).returncode == 0


def test_a_missing_part_is_named_in_one_line_with_what_to_do(tmp_path):
    result = run("--output_dir", tmp_path / "out", "--assets", tmp_path)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    assert ("base.obj is missing" if HAS_BPY else "pip install bpy==4.2.0") in result.stderr


@pytest.mark.skipif(not HAS_BPY, reason="needs bpy: set BPY_PYTHON to a Python that has it")
def test_a_picture_is_rendered_with_labels_that_fit(tmp_path):
    number = next(
        p.number for p in PLANS if p.view == "whole" and p.people[0].outfit == "suit" and p.people[0].turn < 60
    )
    arguments = flags_of(
        {"output_dir": tmp_path, "assets": shared("data/makehuman"), "seed": 5, "first": number, "count": 1}
        | {"height": 96, "samples": 1}
    )
    result = run(*arguments)
    assert result.returncode == 0, result.stderr
    photo = tmp_path / f"photos/{PLANS[number].name}.jpg"
    labels = Image.open(tmp_path / f"labels/{PLANS[number].name}.png")
    assert labels.mode == "L" and labels.size == Image.open(photo).size
    assert set(np.unique(labels).tolist()) == {0, 1, 2}
    before = photo.stat().st_mtime_ns
    assert run(*arguments).returncode == 0 and photo.stat().st_mtime_ns == before  # nothing is rendered twice
