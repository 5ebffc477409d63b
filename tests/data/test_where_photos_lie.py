"""Photographs are found however their folder is written, and whatever a row calls them."""

from pathlib import Path

import pytest
from PIL import Image

from data.classes import CLOTHES
from data.image_folder import find_photos
from data.imaterialist_table import read_table
from options.train_options import TrainOptions
from utils.errors import UserError

HEADER = "ImageId,EncodedPixels,Height,Width,ClassId\n"


def folder_with_photo(folder: Path) -> Path:
    folder.mkdir(parents=True)
    Image.new("RGB", (30, 40)).save(folder / "a.jpg")
    return folder


@pytest.mark.parametrize("written", ["../shots/train", "../shots/train/", "./../shots/../shots/train", "../elsewhere"])
def test_a_relative_image_folder_above_the_repository_is_searched(tmp_path, monkeypatch, written):
    """As the default ../imaterialist/train/ is."""
    folder = folder_with_photo(tmp_path / "shots" / "train")
    (tmp_path / "elsewhere").symlink_to(folder)
    (tmp_path / "repository").mkdir()
    monkeypatch.chdir(tmp_path / "repository")
    Path("../train.csv").write_text(HEADER + "a.jpg,1 5,40,30,1\n")
    table = read_table("../train.csv", written, CLOTHES)
    assert (len(table), table.skipped.count) == (1, {})
    assert table.files[0].is_file()


def test_the_default_image_folder_is_relative_to_the_parent_folder():
    assert ".." in Path(TrainOptions().image_folder).parts


def test_rows_with_absurd_names_and_ids_are_counted_and_the_others_used(tmp_path):
    folder = folder_with_photo(tmp_path / "photos")
    rows = ["a.jpg,1 5,40,30,1", f"{'x' * 3000},1 5,40,30,1", "../photos/a.jpg,1 5,40,30,1"]
    rows += [f"a.jpg,1 5,40,30,{category}" for category in ("00000000099", "9" * 5000, "1.0", "-1", "²", "_1")]
    rows += [f"a.jpg,1 5,{height},30,1" for height in ("inf", "1e999", "-40", "40.9e9")]
    (tmp_path / "table.csv").write_text(HEADER + "\n".join(rows) + "\n")
    table = read_table(str(tmp_path / "table.csv"), str(folder), CLOTHES)
    assert (len(table), len(table.label)) == (1, 1)
    assert table.skipped.count == {
        "photo that cannot be read": 1,
        "missing photo": 1,
        "unknown ClassId": 6,
        "Height or Width that is not a number": 2,
        "Height and Width that disagree with the photo": 2,
    }


def test_results_may_be_written_above_or_beside_the_photographs(tmp_path):
    photos = folder_with_photo(tmp_path / "photos")
    for results in (tmp_path, tmp_path / "beside", photos / "results", photos / ".." / "photos" / "results"):
        assert find_photos(photos, leave_out=results) == [Path("a.jpg")]


def test_results_below_the_photographs_are_left_out(tmp_path):
    photos = folder_with_photo(tmp_path / "photos")
    folder_with_photo(photos / "results" / "mask_upper")
    folder_with_photo(photos / "results2")
    assert find_photos(photos, leave_out=photos / "results") == [Path("a.jpg"), Path("results2/a.jpg")]
    with pytest.raises(UserError, match="no photographs in"):
        find_photos(folder_with_photo(tmp_path / "o" / "i").parent, leave_out=tmp_path / "o" / "i")
