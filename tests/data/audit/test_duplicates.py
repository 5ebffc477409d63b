"""Duplicate photos are found, altered copies among them, and no others."""

import shutil

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from data.audit.duplicates import LARGEST_DISTANCE, _close_hashes, find_pairs, read_fingerprints
from tests.helpers import scene, write_scenes


@pytest.mark.parametrize("alter", [
    lambda picture: picture.resize((130, 195), Image.Resampling.LANCZOS),
    lambda picture: picture.resize((400, 600), Image.Resampling.BICUBIC),
    lambda picture: picture.crop((3, 3, 197, 297)), lambda picture: ImageEnhance.Brightness(picture).enhance(0.8),
], ids=["shrunk", "enlarged", "cropped a little", "darkened"])  # fmt: skip
def test_an_altered_copy_is_a_near_duplicate(alter, tmp_path):
    image_folder, _ = write_scenes(tmp_path, {f"{i}.png": scene(i) for i in range(8)})
    alter(scene(5)).save(image_folder / "copy.jpg", quality=50)
    files = sorted(image_folder.iterdir())
    pairs = find_pairs(read_fingerprints(files))
    assert [(files[pair.first].name, files[pair.second].name) for pair in pairs] == [("5.png", "copy.jpg")]
    assert 0.85 < pairs[0].similarity <= 1


def test_identical_files_are_told_from_near_duplicates(tmp_path):
    image_folder, _ = write_scenes(tmp_path, {f"{i}.png": scene(i) for i in range(4)})
    shutil.copy(image_folder / "2.png", image_folder / "again.png")
    scene(2).save(image_folder / "z.jpg", quality=60)
    files = sorted(image_folder.iterdir())
    pairs = find_pairs(read_fingerprints(files))
    named = [(files[pair.first].name, files[pair.second].name) for pair in pairs]
    assert named == [("2.png", "again.png"), ("2.png", "z.jpg")]
    assert pairs[0].similarity is None
    assert pairs[1].similarity is not None


def test_different_pictures_and_plain_ones_are_no_duplicates(tmp_path):
    plain = {f"{colour}.png": Image.new("RGB", (40, 60), colour) for colour in ("red", "blue", "grey")}
    image_folder, _ = write_scenes(tmp_path, {f"{i}.png": scene(i) for i in range(40)} | plain)
    assert find_pairs(read_fingerprints(sorted(image_folder.iterdir()))) == []


def test_the_shared_sets_have_one_photo_in_both(ccp_train, ccp_val):
    leaked, others = "194f264a446af53e44750f76157701fa.jpg", sorted(ccp_train.image_folder.iterdir())[:40]
    files = [ccp_train.image_folder / leaked, *(path for path in others if path.name != leaked)]
    files += sorted(ccp_val.image_folder.iterdir())
    pairs = find_pairs(read_fingerprints(files))
    named = [(files[pair.first].name, files[pair.second].name) for pair in pairs]
    assert named == [(leaked, "ae2d3d2722c7215505b740599e0840cf.jpg")]


def test_hashes_are_compared_all_with_all():
    rng = np.random.default_rng(0)
    hashes = np.packbits(rng.random((600, 128)) < rng.beta(0.3, 0.3, 128), axis=1)  # more than two blocks
    bits = np.unpackbits(hashes, axis=1).astype(int)
    distance = bits @ (1 - bits).T + (1 - bits) @ bits.T
    expected = [(i, j) for i, j in np.argwhere(distance <= LARGEST_DISTANCE).tolist() if i < j]
    assert 100 < len(expected) < 600 * 599 / 2
    assert list(_close_hashes(hashes)) == expected
