"""Tests of scripts/prepare_ccp.py on clones made here: one of blank drawings, one of the real photographs."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.labels.rle import parse_rle
from scripts.prepare_ccp import (
    CATEGORIES,
    CATEGORY_OF,
    TOP,
    WITHOUT_CATEGORY,
    PrepareCcpOptions,
    categories,
    file_name,
    main,
    split,
)
from tests.helpers import assert_one_line_error, run_here, run_script, shared
from utils.errors import UserError

SCRIPT = "scripts/prepare_ccp.py"
# "null" is label 0; the others follow in alphabetical order, as in label_list.mat.
LABELS = ["null", *sorted((set(CATEGORY_OF) | WITHOUT_CATEGORY) - {"null"})]


def prepare(clone: Path, output: Path) -> None:
    main(PrepareCcpOptions(ccp=str(clone), output_dir=str(output)).resolve())


@pytest.fixture(scope="module")
def savemat():
    return pytest.importorskip("scipy.io", reason="MATLAB files are read and written with SciPy").savemat


@pytest.fixture(scope="module")
def drawn_clone(tmp_path_factory, savemat) -> Path:
    """A whole clone whose photographs are all the same 6 x 4 (height x width) one: a dress above skin."""
    clone = make_clone(tmp_path_factory.mktemp("drawn"), savemat)
    Image.new("RGB", (4, 6)).save(clone / "photo.jpg")
    label_map = np.zeros((6, 4), np.uint8)
    label_map[1:3, 1:3], label_map[3:, 1:3] = LABELS.index("dress"), LABELS.index("skin")
    savemat(clone / "pixel.mat", {"groundtruth": label_map})
    savemat(clone / "image.mat", {"tags": np.array([[LABELS.index("skin")], [LABELS.index("dress")]], float)})
    for part, numbers in split().items():
        for number in numbers:
            (clone / f"photos/{number:04d}.jpg").symlink_to(clone / "photo.jpg")
            level = "image" if part == "tagged" else "pixel"
            (clone / f"annotations/{level}-level/{number:04d}.mat").symlink_to(clone / f"{level}.mat")
    return clone


@pytest.fixture(scope="module")
def real_clone(tmp_path_factory, savemat) -> Path:
    """The clone that the tables in ../shared came from, as far as they tell; skips where ../shared is absent."""
    data = shared("data/ccp")
    clone = make_clone(tmp_path_factory.mktemp("real"), savemat)
    rows = {}
    for part in ("train", "val"):
        for row in read_table(data / f"{part}.csv"):
            rows.setdefault(row["ImageId"], []).append(row)
    tags = {row["ImageId"]: row["Tags"].split(" ") for row in read_table(data / "tagged.csv")}
    for part, numbers in split().items():
        for number in numbers:
            source = data / part / file_name(number)
            (clone / f"photos/{number:04d}.jpg").symlink_to(source)
            if part == "tagged":
                numbers_of_tags = np.array([[LABELS.index(tag)] for tag in tags[source.name]], float)
                savemat(clone / f"annotations/image-level/{number:04d}.mat", {"tags": numbers_of_tags})
            else:
                label_map = {"groundtruth": draw(rows.get(source.name, []), source)}
                savemat(clone / f"annotations/pixel-level/{number:04d}.mat", label_map, do_compression=True)
    return clone


def make_clone(folder: Path, savemat) -> Path:
    for name in ("photos", "annotations/pixel-level", "annotations/image-level"):
        (folder / name).mkdir(parents=True)
    savemat(folder / "label_list.mat", {"label_list": np.array([LABELS], object)})
    return folder


def read_table(path: Path) -> list[dict[str, str]]:
    return pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records")


def draw(rows: list[dict[str, str]], photo: Path) -> np.ndarray:
    """A label map that has these rows: H x W uint8."""
    with Image.open(photo) as image:
        width, height = image.size
    chosen = increasing_labels([int(row["ClassId"]) for row in rows])
    flat = np.full(height * width, LABELS.index("skin"), np.uint8)  # skin is in no row
    for row, label in zip(rows, chosen, strict=True):
        for begin, end in parse_rle(row["EncodedPixels"], height, width).tolist():
            flat[begin:end] = label
    return flat.reshape(width, height).T


def increasing_labels(of_rows: list[int]) -> list[int]:
    """Label numbers that give rows of these categories in this order: of each category, the next that can follow."""
    chosen = []
    lower = {6, 7, 8} & set(of_rows)
    for category in of_rows:
        names = {*CATEGORIES[category], *(["bodysuit"] if category == TOP and lower else [])}
        names -= {"bodysuit"} if category != TOP and lower else set()
        after = chosen[-1] if chosen else 0
        chosen.append(min(number for number in map(LABELS.index, names) if number > after))
    return chosen


def test_real_clone_gives_the_shared_tables_and_photographs(real_clone, tmp_path):
    result = run_script(SCRIPT, "--ccp", real_clone, "--output_dir", tmp_path / "ccp")
    assert result.returncode == 0, result.stderr
    same = "table and photographs are the recipe's"
    assert f"train: 784 photographs (1 without a row), 3874 rows; {same}" in result.stdout
    assert f"val: 110 photographs, 544 rows; {same}" in result.stdout
    assert f"tagged: 1093 photographs, 1093 rows; {same}" in result.stdout
    for part in split():
        assert (tmp_path / f"ccp/{part}.csv").read_bytes() == shared(f"data/ccp/{part}.csv").read_bytes()
        names = sorted(path.name for path in (tmp_path / "ccp" / part).iterdir())
        assert names == sorted(path.name for path in shared(f"data/ccp/{part}").iterdir())


def test_a_row_a_label_counted_down_the_columns_from_one(drawn_clone, tmp_path, capsys):
    prepare(drawn_clone, tmp_path / "ccp")
    assert capsys.readouterr().out.count("not the recipe's: table and photographs") == 3
    first = (tmp_path / "ccp/train.csv").read_text().splitlines()[1]
    assert first == f"{file_name(1)},8 2 14 2,6,4,10"
    assert set((tmp_path / "ccp/tagged.csv").read_text().splitlines()[1:]) == {
        f"{file_name(number)},dress skin" for number in split()["tagged"]
    }


def test_bodysuit_is_a_top_beside_a_lower_garment_only():
    assert categories(["bodysuit", "jeans"]) == [("bodysuit", 1), ("jeans", 6)]
    assert categories(["bodysuit", "coat"]) == [("bodysuit", 11), ("coat", 9)]
    assert categories(["jeans", "romper", "skin"]) == [("jeans", 6), ("romper", 11)]


def test_what_is_missing_or_in_the_way_is_one_line_and_left_alone(drawn_clone, tmp_path):
    (tmp_path / "kept.txt").write_text("mine")
    (tmp_path / "scipy").mkdir()
    (tmp_path / "scipy/__init__.py").write_text("raise ImportError\n")
    for clone, output, *words in (
        (drawn_clone, tmp_path, str(tmp_path), "--output_dir"),
        (tmp_path, tmp_path / "ccp", str(tmp_path), "git clone https://github.com/bearpaw/clothing-co-parsing"),
    ):
        assert_one_line_error(run_here(SCRIPT, "--ccp", clone, "--output_dir", output), *words)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    result = run_script(SCRIPT, "--ccp", drawn_clone, "--output_dir", tmp_path / "ccp", env=environment)
    assert_one_line_error(result, "pip install scipy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.txt", "scipy"]


def test_a_clone_with_a_fault_is_refused_in_one_line_and_nothing_is_left(drawn_clone, tmp_path, savemat):
    savemat(tmp_path / "size.mat", {"groundtruth": np.zeros((4, 6), np.uint8)})
    savemat(tmp_path / "label.mat", {"groundtruth": np.full((6, 4), 59, np.uint8)})
    labels = f"pixel-level/{split()['val'][50]:04d}.mat"
    for name, content, words in (
        (labels, b"version https://git-lfs.github.com/spec/v1\n", "git checkout"),
        (labels, (tmp_path / "size.mat").read_bytes(), "differ in size"),
        (labels, (tmp_path / "label.mat").read_bytes(), "has the label 59, beyond"),
        ("image-level/2098.mat", None, "lacks 1 of 3975 files, first annotations/image-level/2098.mat"),
    ):
        clone = shutil.copytree(drawn_clone, tmp_path / "clone", symlinks=True)
        (clone / "annotations" / name).unlink()
        if content is not None:
            (clone / "annotations" / name).write_bytes(content)
        with pytest.raises(UserError, match=words) as caught:
            prepare(clone, tmp_path / "ccp")
        assert "\n" not in str(caught.value)
        shutil.rmtree(clone)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["label.mat", "size.mat"]


def test_interrupted_run_leaves_nothing(drawn_clone, tmp_path, monkeypatch):
    copy, copied = shutil.copyfile, []

    def copy_three(source, target) -> None:
        if len(copied) == 3:
            raise KeyboardInterrupt
        copied.append(copy(source, target))

    monkeypatch.setattr(shutil, "copyfile", copy_three)
    with pytest.raises(KeyboardInterrupt):
        prepare(drawn_clone, tmp_path / "ccp")
    assert copied
    assert list(tmp_path.iterdir()) == []
