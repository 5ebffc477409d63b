"""scripts/prepare_ccp.py on a clone drawn here, and what the recipe was made with on the real photographs."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.prepare_ccp import (  # isort: skip
    CATEGORY_OF, WITHOUT_CATEGORY, PrepareCcpOptions, categories, comparison, file_name, main, split,
)  # fmt: skip
from tests.helpers import shared
from utils.errors import UserError

# "null" is label 0; the others follow in alphabetical order, as in label_list.mat.
LABELS = ["null", *sorted((set(CATEGORY_OF) | WITHOUT_CATEGORY) - {"null"})]


def prepare(clone: Path, output: Path) -> None:
    main(PrepareCcpOptions(ccp=str(clone), output_dir=str(output)).resolve())


@pytest.fixture(scope="module")
def savemat():
    return pytest.importorskip("scipy.io", reason="MATLAB files are read and written with SciPy").savemat


@pytest.fixture(scope="module")
def drawn_clone(tmp_path_factory, savemat) -> Path:
    """A whole clone whose photographs are all the same 6 x 4 (height x width) one: a dress above skin, beside jeans."""
    clone = tmp_path_factory.mktemp("drawn")
    for name in ("photos", "annotations/pixel-level", "annotations/image-level"):
        (clone / name).mkdir(parents=True)
    savemat(clone / "label_list.mat", {"label_list": np.array([LABELS], object)})
    Image.new("RGB", (4, 6)).save(clone / "photo.jpg")
    label_map = np.full((6, 4), LABELS.index("skin"), np.uint8)
    label_map[:, 2:], label_map[1:3, :2] = LABELS.index("jeans"), LABELS.index("dress")
    savemat(clone / "pixel.mat", {"groundtruth": label_map})
    savemat(clone / "image.mat", {"tags": np.array([[LABELS.index("skin")], [LABELS.index("dress")]], float)})
    for part, numbers in split().items():
        for number in numbers:
            (clone / f"photos/{number:04d}.jpg").symlink_to(clone / "photo.jpg")
            level = "image" if part == "tagged" else "pixel"
            (clone / f"annotations/{level}-level/{number:04d}.mat").symlink_to(clone / f"{level}.mat")
    return clone


@pytest.mark.parametrize("part", split())
def test_the_shared_tables_and_photographs_are_the_recipes(part):
    shared(f"data/ccp/{part}")
    assert comparison(shared("data/ccp"), part) == "table and photographs are the recipe's"


def test_a_row_a_label_counted_down_the_columns_from_one(drawn_clone, tmp_path, capsys):
    prepare(drawn_clone, tmp_path / "ccp")
    said = capsys.readouterr().out
    assert said.count("not the recipe's: table and photographs") == 3
    assert "train: 784 photographs, 1568 rows; " in said and "tagged: 1093 photographs, 1093 rows; " in said
    rows = (tmp_path / "ccp/train.csv").read_text().splitlines()[1:3]
    assert rows == [f"{file_name(1)},2 2 8 2,6,4,10", f"{file_name(1)},13 12,6,4,6"]
    assert set((tmp_path / "ccp/tagged.csv").read_text().splitlines()[1:]) == {
        f"{file_name(number)},dress skin" for number in split()["tagged"]
    }


def test_bodysuit_is_a_top_beside_a_lower_garment_only():
    assert categories(["bodysuit", "jeans"]) == [("bodysuit", 1), ("jeans", 6)]
    assert categories(["bodysuit", "coat"]) == [("bodysuit", 11), ("coat", 9)]
    assert categories(["jeans", "romper", "skin"]) == [("jeans", 6), ("romper", 11)]


def test_without_scipy_the_install_command_is_said(drawn_clone, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(UserError, match="pip install scipy"):
        prepare(drawn_clone, tmp_path / "ccp")


def test_a_clone_with_a_fault_is_refused_in_one_line_and_nothing_is_left(drawn_clone, tmp_path, savemat):
    with pytest.raises(UserError, match="git clone https://github.com/bearpaw/clothing-co-parsing"):
        prepare(tmp_path, tmp_path / "ccp")
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
