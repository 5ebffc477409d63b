"""Photos are found however labels write their names, and labels lie on them however they are stored."""

from pathlib import Path

import pytest
from PIL import Image

from data.labels.photo_finder import MISSING_PHOTO, UNREADABLE_PHOTO, PhotoFinder
from data.labels.rle import encode_rle
from options.train_options import TrainOptions
from tests.data.labels.drawn import (
    BOX,
    HEIGHT,
    ROW,
    TURNED,
    WIDTH,
    assert_in_register,
    mask_of,
    photo_of,
    read,
    save_photo,
    save_turned,
    write_csv,
)
from tests.helpers import exif_of
from utils.errors import UserError


@pytest.mark.parametrize(("file", "names"), [
    ("a.jpeg", "a"), ("a.JPG", "a"), ("a.png", "a a.jpg"), ("A.JPG", "a.jpg"), ("2019.05.17.jpg", "2019.05.17"),
    ("look.v2.JPEG", "LOOK.V2.jpg"), ("deep/er/a.jpg", r"deep\er\a.jpg"), ("deep/a.jpeg", r".\deep\a"),
    ("train/a.jpg", "a.jpg"), ("cafe\u0301.jpg", "caf\u00e9"), ("50%.jpg", "50%.jpg"), ("a?b.jpg", "a?b"),
    ("a.jpg", r"train/a.jpg C:\data\train\a.jpg /home/me/train/a ../data/train/a.jpg"),
    ("a.jpg", "https://example.com/shots/a.jpg https://example.com/shots/a.jpg?X-Amz-Date=2024&sig=%2F"),
    ("a.jpg", "s3://bucket/shots/a.jpg gs://bucket/a.jpg file:///home/me/a.jpg /data/local-files/?d=shots%2Fa.jpg"),
    ("a.jpg", r"/data/upload/3/3f9ab2c1-a.jpg 3f9ab2c1-a ..\\..\\upload\\3f9ab2c1-a.jpg"),
    ("my shot.jpg", "http://localhost:8080/data/my%20shot.jpg https://example.com/upload/3f9ab2c1-my%20shot.jpg"),
    ("3f9ab2c1-a.jpg", "3f9ab2c1-a.jpg"), (r"back\slash.jpg", r"back\slash.jpg back\slash"),
])  # fmt: skip
def test_a_photo_is_found_however_its_name_is_written(file, names, tmp_path):
    path = save_photo(tmp_path / "photos" / file)
    for name in names.split():
        found = PhotoFinder(str(tmp_path / "photos")).find(name)
        assert (found.path, found.size, found.fault) == (path, (HEIGHT, WIDTH), None), name


@pytest.mark.parametrize("name", ["three/a.jpg", "../outside.jpg", "b.jpg", "..", "/", "", "a" * 3000, "a\0"])
def test_a_name_that_no_photo_has_is_missing(name, tmp_path):
    save_photo(tmp_path / "photos/one/a.jpg")
    save_photo(tmp_path / "outside.jpg")
    assert PhotoFinder(str(tmp_path / "photos")).find(name).fault == MISSING_PHOTO


def test_a_photo_that_cannot_be_read_or_shares_its_name_is_a_fault_unless_its_folders_tell(tmp_path):
    for folder in ("one", "two"):
        save_photo(tmp_path / folder / "a.jpg")
    (tmp_path / "b.jpg").write_text("no image")
    for name in ("c.jpg", "c.png"):
        save_photo(tmp_path / name)
    finder = PhotoFinder(str(tmp_path))
    assert finder.find("c").detail == "c.jpg and c.png"
    assert finder.find("a").fault == "name of several photos"
    assert finder.find("a").detail == "one/a.jpg and two/a.jpg"
    assert finder.find("x/two/a").path == tmp_path / "two/a.jpg"
    assert finder.find("b.jpg").fault == UNREADABLE_PHOTO


def test_a_name_without_suffix_is_first_of_all_that_of_a_jpg(tmp_path):
    for name in ("dQw4.jpg", "DQw4.jpg", ".hidden/a.jpg", "b.png.jpg", "real/c.jpg"):
        save_photo(tmp_path / name)
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    finder = PhotoFinder(str(tmp_path))
    for name in ("dQw4", "DQw4", ".hidden/a", "b.png", "linked/c"):
        assert finder.find(name).path == tmp_path / f"{name}.jpg"
        assert not finder.find(name).fault


def test_where_the_data_set_is_is_said_where_its_folder_is_missing(tmp_path):
    with pytest.raises(UserError, match=r"no folder of photos at .*kaggle\.com"):
        PhotoFinder(str(tmp_path / "imaterialist/train"))


@pytest.mark.parametrize("written", ["../shots/train", "./../shots/../shots/train/", "../elsewhere"])
def test_a_relative_folder_above_the_repository_is_searched(tmp_path, monkeypatch, written):
    save_photo(tmp_path / "shots/train/a.jpg")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "shots/train")
    (tmp_path / "repository").mkdir()
    monkeypatch.chdir(tmp_path / "repository")
    assert ".." in Path(TrainOptions().image_folder).parts  # as the default is
    assert PhotoFinder(written).find("train/a").path.is_file()


# Photos stored turned, and photos of another size


@pytest.mark.parametrize("orientation", [5, 8])
def test_labels_drawn_on_the_upright_photo_are_recognised_by_their_size(orientation, tmp_path):
    save_turned(tmp_path / "upright.jpg", BOX, orientation)
    save_photo(tmp_path / "stored.jpg", BOX, orientation)  # labels of this one were drawn on what is stored
    table = read(write_csv(tmp_path, ["upright.jpg", *ROW], ["stored.jpg", *ROW]), tmp_path)
    assert (table.skipped.count, table.upright.tolist(), table.uncertain) == ({}, [True, False], 0)
    assert_in_register(table)


@pytest.mark.parametrize("size", [(400, 300), (267, 200), (1600, 1200)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_labels_of_resized_copies_are_scaled(size, orientation, tmp_path):
    mask = mask_of(100, 150, 500, 400, (800, 600))
    copy = photo_of(mask).resize(size[::-1])
    copy = copy.transpose(TURNED[6]) if orientation == 6 else copy
    copy.save(tmp_path / "a.jpg", quality=95, exif=exif_of(orientation))
    table = read(write_csv(tmp_path, ["a.jpg", encode_rle(mask), 800, 600, 1]), tmp_path)
    assert table.upright.tolist() == [orientation == 6]
    assert_in_register(table)
    assert table.lines()[0] == "1 photos are of another size than their labels, which are scaled to it"


def test_rotations_that_the_size_does_not_decide_are_counted_and_labels_taken_as_stored(tmp_path):
    square = mask_of(3, 5, 20, 28, (30, 30))
    for name, mask, orientation in (("half", BOX, 3), ("mirrored", BOX, 2), ("square", square, 6), ("bare", BOX, 3)):
        save_photo(tmp_path / f"{name}.jpg", mask, orientation)
    photo_of(BOX).save(tmp_path / "broken.jpg", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff", quality=95)
    rows = [[f"{name}.jpg", *ROW] for name in ("half", "mirrored", "broken")]
    rows += [["square.jpg", encode_rle(square), 30, 30, 1], ["bare.jpg", "", HEIGHT, WIDTH, ""]]  # nothing drawn on it
    table = read(write_csv(tmp_path, *rows), tmp_path)
    assert (table.uncertain, table.upright.any()) == (3, False)
    line = "3 photos have an EXIF rotation that the size of the labels does not decide; labels are taken as drawn"
    assert line in table.lines()[0]


@pytest.mark.parametrize(("photo", "stated"), [
    ((480, 640), (800, 600)), ((480, 640), (600, 640)), ((640, 640), (2**20, 2**20)), ((480, 640), (0, 0)),
])  # fmt: skip
def test_labels_of_another_shape_are_a_fault_with_both_sizes(photo, stated, tmp_path):  # width x height
    Image.new("RGB", photo).save(tmp_path / "a.jpg")
    with pytest.raises(UserError) as error:
        read(write_csv(tmp_path, ["a.jpg", "1 2", *stated[::-1], 1]), tmp_path)
    sizes = "the table says {}x{}, the photo has {}x{}".format(*stated, *photo)
    assert f"Height and Width that disagree with the photo (first: row 1, a.jpg: {sizes})" in str(error.value)
