"""data/audit.py: planted faults and duplicates are found, and what is known of the shared set."""

import csv
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from data import audit
from data.audit.counts import count_classes, count_rows, covered, photos_without_row
from data.audit.duplicates import Fingerprints, Pair, correlation, find_pairs, fingerprints
from data.classes import CLOTHES, IMATERIALIST_CATEGORIES
from data.imaterialist_table import read_table
from data.rle import encode_rle
from tests.helpers import assert_one_line_error, make_paper_dolls, run_script
from utils.errors import UserError
from utils.metrics import ConfusionMatrix

KNOWN = set(CLOTHES.by_category)


def scene(seed: int, height: int = 300, width: int = 200) -> Image.Image:
    """A picture of soft patches of colour, no two seeds alike."""
    patches = np.random.default_rng(seed).integers(0, 256, (9, 6, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC)


def append(df_path: Path, *rows: tuple) -> None:
    with df_path.open("a", newline="") as file:
        csv.writer(file).writerows(rows)


def write_scenes(folder: Path, scenes: dict[str, Image.Image], shirt: float = 0.5) -> tuple[Path, Path]:
    """A data set of these pictures. Each has one mask, a shirt over the upper half, of the last one over ``shirt``."""
    (folder / "photos").mkdir(parents=True)
    df_path = folder / "table.csv"
    append(df_path, ("ImageId", "EncodedPixels", "Height", "Width", "ClassId"))
    for name, picture in scenes.items():
        picture.save(folder / "photos" / name)
        mask = np.zeros(picture.size[::-1], bool)
        mask[: round(len(mask) * (shirt if name == list(scenes)[-1] else 0.5))] = True
        append(df_path, (name, encode_rle(mask), *mask.shape, 0))
    return folder / "photos", df_path


def run_audit(monkeypatch, capsys, *arguments) -> str:
    monkeypatch.setattr(sys, "argv", ["audit", *map(str, arguments)])
    audit.main()
    return capsys.readouterr().out


def test_categories_are_iMaterialists_46_and_agree_with_the_class_table():
    assert len(IMATERIALIST_CATEGORIES) == len(set(IMATERIALIST_CATEGORIES)) == 46
    named = {
        name: [IMATERIALIST_CATEGORIES[i] for i in ids] for name, ids in zip(CLOTHES.clothes, CLOTHES.ids, strict=True)
    }
    assert named["upper"] == [
        "shirt, blouse",
        "top, t-shirt, sweatshirt",
        "sweater",
        "cardigan",
        "jacket",
        "vest",
    ]
    assert named["lower"] == ["pants", "shorts", "skirt"]
    assert named["full"] == ["coat", "dress", "jumpsuit", "cape"]
    assert IMATERIALIST_CATEGORIES[23] == "shoe"


def test_rows_and_photographs_are_counted_by_category(tmp_path):
    image_folder, df_path = make_paper_dolls(tmp_path, photos=5)
    with df_path.open() as file:
        truth = Counter(int(row["ClassId"]) for row in csv.DictReader(file))
    (shoe,) = (row for row in csv.reader(df_path.open()) if row[0] == "doll000.jpg" and row[4] == "23")
    append(df_path, shoe)
    counts = count_rows(df_path, image_folder, KNOWN)
    assert counts.photos_of_category == truth
    assert counts.of_category == truth + Counter({23: 1})


def test_planted_faults_are_found(tmp_path, monkeypatch, capsys):
    image_folder, df_path = make_paper_dolls(tmp_path, photos=4)
    shutil.copy(image_folder / "doll000.jpg", image_folder / "nobody.jpg")
    height, width = Image.open(image_folder / "doll001.jpg").size[::-1]
    append(
        df_path,
        ("gone.jpg", "1 1", 10, 10, 0),
        ("doll001.jpg", "1 1", height, width, 99),
        ("doll001.jpg", "1 1 5", height, width, 0),
        ("doll001.jpg", f"{height * width} 2", height, width, 0),
        ("doll001.jpg", "1 1", height + 1, width, 0),
        ("doll001.jpg", "", height, width, 0),
    )
    output = run_audit(monkeypatch, capsys, "--image_folder", image_folder, "--df_path", df_path)
    assert "of which 6 cannot be used" in output
    for kind in (
        "missing photo",
        "unknown ClassId",
        "an odd count of run-lengths",
        "run-lengths that leave the image",
        "Height and Width that disagree with the photo",
        "empty cell",
    ):
        assert f"skipped 1 row(s): {kind}" in output
    assert "photographs without any row: 1 (nobody.jpg)" in output
    assert "photographs without file: 1 (gone.jpg)" in output


def test_a_photo_that_breaks_when_decoded_is_named(tmp_path, monkeypatch, capsys):
    image_folder, df_path = make_paper_dolls(tmp_path, photos=3)
    broken = image_folder / "doll001.jpg"
    broken.write_bytes(broken.read_bytes()[:-900])
    output = run_audit(
        monkeypatch, capsys, "--image_folder", image_folder, "--df_path", df_path, "--report_dir", tmp_path / "report"
    )
    assert f"broken: {broken}: broken image" in output
    assert (tmp_path / "report" / "labels.png").is_file()


def test_overlaps_between_classes_are_counted_in_pixels_and_photographs(tmp_path):
    image_folder, df_path = write_scenes(tmp_path, {f"{i}.png": scene(i, 30, 20) for i in range(2)})
    trousers = np.zeros((30, 20), bool)
    trousers[13:25, 4:10] = True  # 2 of its 12 rows lie under the shirt, which is 15 rows high
    append(df_path, ("1.png", encode_rle(trousers), 30, 20, 6), ("1.png", encode_rle(trousers), 30, 20, 7))
    counts = count_classes(read_table(df_path, image_folder, CLOTHES), 4)
    assert counts.overlap_pixels == {(1, 2): 2 * 6}
    assert counts.overlap_photos == {(1, 2): 1}
    assert counts.covered.tolist() == [0, 2 * 15 * 20, 12 * 6, 0]  # trousers drawn twice cover no more
    assert counts.photos.tolist() == [0, 2, 1, 0]
    assert counts.pixels == 2 * 30 * 20
    assert counts.without_clothes == 0


def test_pixels_under_several_runs_count_once():
    runs = np.array([[50, 60], [0, 10], [5, 20], [6, 8], [9, 12], [20, 25], [50, 60]])
    assert covered(runs) == 35
    assert covered(runs[:0]) == 0


@pytest.mark.parametrize(
    "alter",
    [
        lambda picture: picture.resize((130, 195), Image.Resampling.LANCZOS),
        lambda picture: picture.resize((400, 600), Image.Resampling.BICUBIC),
        lambda picture: picture.crop((3, 3, 197, 297)),
        lambda picture: ImageEnhance.Brightness(picture).enhance(0.8),
    ],
    ids=["shrunk", "enlarged", "cropped a little", "darkened"],
)
def test_an_altered_copy_is_a_near_duplicate(alter, tmp_path):
    image_folder, _ = write_scenes(tmp_path, {f"{i}.png": scene(i) for i in range(8)})
    alter(scene(5)).save(image_folder / "copy.jpg", quality=50)
    files = sorted(image_folder.iterdir())
    pairs = find_pairs(fingerprints(files))
    assert [(files[pair.first].name, files[pair.second].name) for pair in pairs] == [("5.png", "copy.jpg")]
    assert 0.85 < pairs[0].similarity <= 1


def test_identical_files_are_told_from_near_duplicates(tmp_path):
    image_folder, _ = write_scenes(tmp_path, {f"{i}.png": scene(i) for i in range(4)})
    shutil.copy(image_folder / "2.png", image_folder / "again.png")
    scene(2).save(image_folder / "z.jpg", quality=60)
    files = sorted(image_folder.iterdir())
    pairs = find_pairs(fingerprints(files))
    named = [(files[pair.first].name, files[pair.second].name) for pair in pairs]
    assert named == [("2.png", "again.png"), ("2.png", "z.jpg")]
    assert pairs[0].similarity is None
    assert pairs[1].similarity is not None


def test_different_pictures_are_no_duplicates(tmp_path):
    image_folder, _ = write_scenes(tmp_path, {f"{i}.png": scene(i) for i in range(40)})
    assert find_pairs(fingerprints(sorted(image_folder.iterdir()))) == []


def test_likeness_is_blind_to_brightness_and_contrast_but_not_to_content():
    one, other = (np.asarray(scene(seed)) for seed in (1, 2))
    assert correlation(one, one // 2 + 100) == pytest.approx(1, abs=1e-3)
    assert abs(correlation(one, other)) < 0.5


def test_plain_pictures_of_one_colour_are_no_near_duplicates(tmp_path):
    colours = {"red.png": "red", "blue.png": "blue", "grey.png": "grey"}
    image_folder, _ = write_scenes(tmp_path, {name: Image.new("RGB", (40, 60), c) for name, c in colours.items()})
    assert find_pairs(fingerprints(sorted(image_folder.iterdir()))) == []


def test_duplicates_across_two_tables_are_named_with_how_far_their_labels_agree(tmp_path, monkeypatch, capsys):
    train = write_scenes(tmp_path / "train", {f"t{i}.png": scene(i) for i in range(4)})
    val = write_scenes(tmp_path / "val", {"v.jpg": scene(2, 240, 160), "w.png": scene(9)}, shirt=0.9)
    output = run_audit(
        monkeypatch, capsys, "--image_folder", train[0], "--df_path", train[1],
        "--against_image_folder", val[0], "--against_df_path", val[1], "--report_dir", tmp_path / "report",
    )  # fmt: skip
    assert "0 identical pair(s), 1 near-duplicate pair(s); 1 across the two tables" in output
    assert f"in both tables, labels agree by 1.00: {train[0] / 't2.png'} {val[0] / 'v.jpg'}" in output
    pooled = "against each other, pooled: mean IoU of the clothes 1.000, clothes against rest 1.000"
    assert pooled in output
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"labels.png", "duplicates.png"}


def test_labels_of_duplicates_are_compared_pooled_over_the_pairs():
    pairs = [Pair(0, 1, 0.99), Pair(2, 3, 0.99)]
    same, other = ConfusionMatrix(3), ConfusionMatrix(3)
    same.update(np.array([0, 1, 1, 1]), np.array([0, 1, 1, 1]))
    other.update(np.array([0, 1, 2, 2]), np.array([0, 2, 2, 0]))
    files = [Path(name) for name in "abcd"]
    text = audit.duplicates_as_text(pairs, [same, other], Fingerprints([], np.empty(0), np.empty(0), {}), files, 4)
    # Upper: 3 of 4 pixels in either, the other class: 1 of 3; clothes: 5 of 6.
    assert "pooled: mean IoU of the clothes 0.542, clothes against rest 0.833" in text


def test_labels_of_duplicates_without_clothes_have_no_figure():
    bare = ConfusionMatrix(3)
    bare.update(np.zeros(4, int), np.zeros(4, int))
    prints = Fingerprints([], np.empty(0), np.empty(0), {})
    text = audit.duplicates_as_text([Pair(0, 1, 0.99)], [bare], prints, [Path("a"), Path("b")], 2)
    assert "no clothes" in text and "pooled" not in text


def test_the_shared_training_set_has_one_photo_without_a_row(ccp_train):
    counts = count_rows(ccp_train.df_path, ccp_train.image_folder, KNOWN)
    missing = photos_without_row(ccp_train.image_folder, counts.named)
    assert list(map(str, missing)) == ["c8921d7c7443ea60abae4f9561d2ca51.jpg"]
    assert (counts.rows, len(counts.named), counts.bad.count, counts.without_file) == (3874, 783, {}, [])


def test_the_shared_sets_have_one_photo_in_both(ccp_train, ccp_val):
    leaked, others = "194f264a446af53e44750f76157701fa.jpg", sorted(ccp_train.image_folder.iterdir())[:40]
    files = [ccp_train.image_folder / leaked, *(path for path in others if path.name != leaked)]
    files += sorted(ccp_val.image_folder.iterdir())
    pairs = find_pairs(fingerprints(files))
    named = [(files[pair.first].name, files[pair.second].name) for pair in pairs]
    assert named == [(leaked, "ae2d3d2722c7215505b740599e0840cf.jpg")]


def test_errors_are_one_line(tmp_path):
    result = run_script("-m", "data.audit", "--image_folder", tmp_path / "absent", "--df_path", tmp_path / "table.csv")
    assert_one_line_error(result, "no photographs at", "absent")


def test_half_a_second_table_is_refused(tmp_path, dolls, monkeypatch, capsys):
    with pytest.raises(UserError, match="--against_df_path"):
        run_audit(monkeypatch, capsys, "--image_folder", dolls.image_folder, "--against_image_folder", tmp_path)
