"""Photographs of a folder: which files are taken, what is passed over, and what their results are called."""

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from data.image_folder import find_photos, passed_over, photo_suffixes
from utils.errors import UserError


def folder_with_photo(folder: Path) -> Path:
    folder.mkdir(parents=True)
    Image.new("RGB", (30, 40)).save(folder / "a.jpg")
    return folder


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


def test_links_to_folders_are_followed_and_loops_end(tmp_path):
    photos = folder_with_photo(tmp_path / "photos")
    elsewhere = folder_with_photo(tmp_path / "elsewhere")
    (elsewhere / "back").symlink_to(photos)
    (elsewhere / "round").symlink_to(elsewhere)
    (photos / "link").symlink_to(elsewhere)
    (photos / "again").symlink_to(elsewhere)  # the same photographs would have results twice
    (photos / "up").symlink_to(tmp_path)
    (photos / "self").symlink_to(photos)
    (photos / "dangling.jpg").symlink_to("nowhere")
    assert find_photos(photos) == [Path("a.jpg"), Path("again/a.jpg")]
    (tmp_path / "linked").symlink_to(photos)
    assert len(find_photos(tmp_path / "linked")) == 2


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    photos = folder_with_photo(tmp_path / "photos")
    folder_with_photo(photos / ".thumbnails")
    (photos / "._a.jpg").write_bytes(b"")
    assert find_photos(photos) == [Path("a.jpg")]


def test_files_that_cannot_be_photographs_are_counted_not_tried(tmp_path):
    photos = folder_with_photo(tmp_path / "photos")
    for name in ("b.PDF", "c.pdf", "d.mpg", "e.h5", "f.eps", "g.txt", "noted"):
        (photos / name).write_bytes(b"")
    found = find_photos(photos)
    assert found == [Path("a.jpg")]
    assert passed_over(photos, found) == Counter(
        {".pdf": 2, ".mpg": 1, ".h5": 1, ".eps": 1, ".txt": 1, "without a suffix": 1}
    )
    common = {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".mpo", ".ppm"}
    assert common <= photo_suffixes()
