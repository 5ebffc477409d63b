"""The photographs of a folder: which files are taken, where links lead, names of results."""

import os
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from data.photos.folder import find_photos, list_photos, result_names
from tests.helpers import lock_folders
from utils.errors import UserError


def folder_with_photo(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (30, 40)).save(folder / "a.jpg")
    return folder


def found(folder: Path, **options) -> list[str]:
    return [path.as_posix() for path in find_photos(folder, **options)]


def test_photographs_are_found_below_a_folder_in_order_and_hidden_ones_are_not(tmp_path):
    hidden = (".hidden.jpg", ".cache/e.jpg", "sub/.f.png")
    for name in ("b.JPG", "sub/c.heic", "a.jpg", "sub/deep/d.Webp", "g.mpo", *hidden):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link_to_pipe.jpg").symlink_to("pipe.jpg")
    assert found(tmp_path) == ["a.jpg", "b.JPG", "g.mpo", "sub/c.heic", "sub/deep/d.Webp"]


def test_files_that_cannot_be_photographs_are_passed_over_and_counted(tmp_path):
    folder_with_photo(tmp_path)
    for name in ("x.pdf", "y.PDF", "z.eps", "v.mpg", "README"):
        (tmp_path / name).touch()
    listing = list_photos([tmp_path])
    assert listing.photos == [Path("a.jpg")]
    assert listing.ignored == {".pdf": 2, ".eps": 1, ".mpg": 1, "without a suffix": 1}


def test_no_folder_and_no_photographs_are_one_line(tmp_path):
    folder_with_photo(tmp_path / "a")
    for sources in ("absent", "absent.jpg a", "*.webp"):
        with pytest.raises(UserError, match=r"there is no folder or photo .*(absent|webp)"):
            list_photos([tmp_path / source for source in sources.split()])
    with pytest.raises(UserError, match="there is no folder .*absent; give a folder of photographs"):
        find_photos(tmp_path / "absent")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").touch()
    with pytest.raises(UserError, match="no photographs in"):
        find_photos(tmp_path / "b")


def test_links_to_folders_are_followed_and_loops_end(tmp_path):
    folder, elsewhere = folder_with_photo(tmp_path / "photos"), folder_with_photo(tmp_path / "elsewhere" / "more")
    (folder / "link").symlink_to(elsewhere.parent)
    (elsewhere / "back").symlink_to(folder)
    (elsewhere / "self").symlink_to(".")
    (elsewhere / "above").symlink_to("..")
    (folder / "up").symlink_to(folder_with_photo(tmp_path))
    assert found(folder) == ["a.jpg", "link/more/a.jpg"]
    (tmp_path / "way").symlink_to(folder)
    assert found(tmp_path / "way") == ["a.jpg", "link/more/a.jpg"]
    folder_with_photo(tmp_path / "once" / "m" / "z")  # a folder is looked into once, and in its own place
    for name, target in (("a", "m"), ("b", "m/z"), ("z", "m")):
        (tmp_path / "once" / name).symlink_to(target)
    assert found(tmp_path / "once") == ["m/z/a.jpg"]


def test_links_to_photographs_count_as_photographs_even_those_that_lead_nowhere(tmp_path):
    folder = folder_with_photo(tmp_path / "photos")
    for name, target in (("link.jpg", "a.jpg"), ("lost.jpg", "nowhere.jpg"), ("loop.jpg", "loop.jpg")):
        (folder / name).symlink_to(target)  # whoever opens a lost one says that there is no such file
    assert found(folder) == found(folder, leave_out=folder / "results") == ["a.jpg", "link.jpg", "loop.jpg", "lost.jpg"]


def test_results_are_left_out_wherever_they_lie(tmp_path):
    photos, elsewhere = folder_with_photo(tmp_path / "photos"), folder_with_photo(tmp_path / "results")
    above_or_beside = (tmp_path, tmp_path / "beside", photos, photos / "results", photos / ".." / "photos" / "results")
    for results in above_or_beside:
        assert found(photos, leave_out=results) == ["a.jpg"]
    folder_with_photo(photos / "results" / "mask_upper")
    folder_with_photo(photos / "results2")
    listing = list_photos([photos], leave_out=photos / "results")
    assert (listing.photos, listing.ignored) == ([Path("a.jpg"), Path("results2/a.jpg")], Counter())
    with pytest.raises(UserError, match="no photographs in"):
        find_photos(folder_with_photo(tmp_path / "o" / "i").parent, leave_out=tmp_path / "o" / "i")
    (photos / "link").symlink_to(elsewhere)
    (photos / "link.jpg").symlink_to(elsewhere / "a.jpg")
    assert found(photos, leave_out=elsewhere) == ["a.jpg", "results/mask_upper/a.jpg", "results2/a.jpg"]


@pytest.mark.parametrize(("sources", "folder", "photos"), [
    ("a", "a", "1.jpg sub/2.png"), ("a/1.jpg", "a", "1.jpg"),
    ("notes.txt", ".", "notes.txt"),  # alone, a file is taken whatever its name
    ("a/1.jpg b/1.jpg", ".", "a/1.jpg b/1.jpg"), ("a/1.jpg a/sub", "a", "1.jpg sub/2.png"),  # as a shell expands a/*
    ("a a/1.jpg a/../a/sub", "a", "1.jpg sub/2.png"),  # each once
    ("a/sub b", ".", "a/sub/2.png b/1.jpg"), ("b notes.txt", ".", "b/1.jpg"),
    ("*/1.jpg", ".", "a/1.jpg b/1.jpg"),  # where no shell expands it
    ("**/*.png", "a/sub", "2.png"), ("b link", ".", "b/1.jpg link/2.png"),
])  # fmt: skip
@pytest.mark.parametrize("absolute", [False, True])
def test_files_folders_and_wildcards_give_photos_below_their_common_folder(
    sources, folder, photos, absolute, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("a/1.jpg", "a/sub/2.png", "b/1.jpg", "notes.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    if "link" in sources:
        Path("link").symlink_to("a/sub")
    listing = list_photos([tmp_path / source if absolute else Path(source) for source in sources.split()])
    assert listing.folder.resolve() == (tmp_path / folder).resolve()
    assert [path.as_posix() for path in listing.photos] == photos.split()
    assert all((listing.folder / path).exists() for path in listing.photos)


def test_a_folder_that_cannot_be_read_is_said(tmp_path, monkeypatch):
    for name in ("locked", "sub/locked", "lost+found", "System Volume Information"):
        folder_with_photo(tmp_path / name)
    folder_with_photo(tmp_path)
    lock_folders(monkeypatch, "locked", "lost+found", "System Volume Information")
    listing = list_photos([tmp_path])
    assert listing.photos == [Path("a.jpg")]
    lines = [f"cannot read the folder {tmp_path / name}: Permission denied" for name in ("locked", "sub/locked")]
    assert sorted(listing.unreadable) == sorted(lines)
    with pytest.warns(UserWarning, match="cannot read the folder"):
        find_photos(tmp_path)
    with pytest.raises(UserError, match="cannot read the folder .*locked: Permission denied"):
        list_photos([tmp_path / "locked"])


def test_no_two_results_have_the_same_name():
    photos = ["a.jpg", "A.png", "b.jpg", "sub/b.jpg", "c.jpg", "c.jpg.png", "d.e.jpg", "é.jpg", "e\u0301.png"]
    names = {str(photo): str(name) for photo, name in result_names(list(map(Path, photos))).items()}
    assert names == {
        "a.jpg": "a.jpg", "A.png": "A.png", "b.jpg": "b", "sub/b.jpg": "sub/b", "c.jpg": "c", "c.jpg.png": "c.jpg.png",
        "d.e.jpg": "d.e", "é.jpg": "é.jpg", "e\u0301.png": "e\u0301.png",  # written in two ways
    }  # fmt: skip
