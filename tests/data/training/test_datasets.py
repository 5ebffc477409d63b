"""Samples to train on and photographs to compare with; close-ups of both."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.labels.rle import encode_rle, parse_rle
from data.labels.table import LabelTable
from data.photos.open import PhotoError
from data.training.datasets import EvaluationPhotos, LoadedSource, TrainingPhotos, close_up
from data.training.sampler import Draw
from data.training.sources import Augmentation, Source
from utils.errors import UserError

VARIED = {"close_ups": 0.3, "portraits": 0.3, "rotations": 0.3, "turns": 0.3, "pastes": 0.5}


def runs_of(mask: np.ndarray) -> np.ndarray:
    return parse_rle(encode_rle(mask), *mask.shape)


def noisy_photos(folder: Path, names: str = "ab", suffix: str = ".jpg", size: tuple[int, int] = (40, 30)) -> LabelTable:
    """Photographs of noise, and upper and lower clothes on each."""
    rng, photos = np.random.default_rng(0), []
    for name in names:
        path = folder / f"{name}{suffix}"
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(path)
        upper, lower = np.zeros((2, *size), bool)
        upper[size[0] // 10 : size[0] // 2, size[1] // 6 : -size[1] // 6] = True
        lower[size[0] // 3 : -size[0] // 8, size[1] // 4 : -size[1] // 4] = True
        photos.append((path, size, [(2, runs_of(lower)), (1, runs_of(upper))]))
    return LabelTable.pack(photos)


def samples(table: LabelTable, size=(32, 32), augment="full", seed=0, **shares) -> TrainingPhotos:
    how = Augmentation(augment, **shares)
    source = Source("photographs", "", None, trust=0.7, teacher_trust=0.2, augmentation=how)
    present = torch.tensor([[True, index == 0, True, True] for index in range(len(table))])
    return TrainingPhotos(2 * [LoadedSource(source, table, present)], size, 0.5, 0.5, seed)


def test_a_sample_is_image_label_trust_and_the_classes_that_can_be_there(tmp_path):
    table = noisy_photos(tmp_path, suffix=".PNG")
    photos = samples(table, (40, 30), "none")
    image, label, trust, present, teacher_trust = photos[Draw(0, 1, 0)]
    assert (image.shape, image.dtype, label.shape, label.dtype) == ((3, 40, 30), torch.float32, (40, 30), torch.int64)
    assert np.array_equal(label, table.label_map(1))
    photo = torch.from_numpy(np.array(Image.open(table.files[1]))).permute(2, 0, 1) / 255
    torch.testing.assert_close(image, (photo - 0.5) / 0.5)
    assert (trust, teacher_trust) == pytest.approx((0.7, 0.2)) and present.tolist() == [True, False, True, True]
    assert photos[Draw(0, 0, 0)].present.all()


def test_a_sample_is_a_function_of_seed_and_draw(tmp_path):
    table = noisy_photos(tmp_path)
    first, again, other = samples(table, seed=5, **VARIED), samples(table, seed=5, **VARIED), samples(table, seed=6)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    for draw in (Draw(0, 1, 1), Draw(0, 0, 0), Draw(0, 0, 4)):
        assert torch.equal(first[draw].image, again[draw].image)
        assert torch.equal(first[draw].label, again[draw].label)
    for sample in (first[Draw(0, 0, 1)], first[Draw(1, 0, 0)], other[Draw(0, 0, 0)]):
        assert not torch.equal(first[Draw(0, 0, 0)].image, sample.image)
    assert torch.equal(torch.get_rng_state(), before)  # of the process, which is left alone


def test_older_runs_resume_with_the_samples_they_would_have_drawn(tmp_path):
    """The random numbers of a draw, and the order in which they are used, are part of exact resume.

    Labels tell: they show what was done to the photo, and unlike images do not depend on any decoder's rounding.
    """
    photos = samples(noisy_photos(tmp_path, "abc", size=(90, 60)), (48, 36), seed=7, **VARIED)
    labels = [photos[Draw(0, index, epoch)].label for epoch in range(8) for index in range(3)]
    digest = hashlib.sha256(torch.stack(labels).to(torch.uint8).numpy().tobytes()).hexdigest()
    assert digest == "26ea2dfd470625a0c40d730df4fd2f13e9e90f141605eb242daf30f07f0f1de6"


def test_a_photo_broken_beyond_its_header_does_not_stop_training(tmp_path):
    photos = samples(noisy_photos(tmp_path), augment="none")
    whole = (tmp_path / "b.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match=r"b\.jpg: broken image.*next photo"):
        sample = photos[Draw(0, 1, 0)]
    assert all(map(torch.equal, sample, photos[Draw(0, 0, 0)]))  # with the classes that this one can show


def test_photos_that_are_all_broken_or_gone_end_training_with_one_line(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    photos = samples(noisy_photos(folder))
    for path in folder.iterdir():
        path.write_bytes(b"")
    with pytest.warns(UserWarning, match="next photo"), pytest.raises(UserError, match="none of the 2 photographs"):
        photos[Draw(0, 0, 0)]
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="photos is gone; put it back and --resume"):
        photos[Draw(0, 0, 0)]


def test_large_jpegs_stay_in_register_with_their_labels(tmp_path):
    mask = np.zeros((800, 800), bool)
    mask[200:600, 300:500] = True
    Image.fromarray(mask.astype(np.uint8) * 255).convert("RGB").save(tmp_path / "big.jpg", quality=95)
    table = LabelTable.pack([(tmp_path / "big.jpg", (800, 800), [(1, runs_of(mask))])])
    image, label, *_ = samples(table, (64, 64), "none")[Draw(0, 0, 0)]
    assert ((image[0] > 0) == (label == 1)).float().mean() > 0.98


def test_a_photo_that_cannot_be_decoded_is_named_and_left_out_of_an_evaluation(tmp_path, capsys):
    table = noisy_photos(tmp_path, "abc")
    (tmp_path / "b.jpg").write_bytes(b"no image")
    photos = EvaluationPhotos(table)
    loaded = list(photos.load([2, 1, 0]))
    assert [index for index, *_ in loaded] == [2, 0]
    for index, photo, label in loaded:
        assert np.array_equal(photo, photos[index][0]) and np.array_equal(label, table.label_map(index))
    assert f"left out: {tmp_path / 'b.jpg'}: not an image" in capsys.readouterr().err
    with pytest.raises(PhotoError):
        photos[1]


def test_a_close_up_is_head_and_shoulders_cut_out_like_a_portrait_and_ends_with_the_photo():
    label = np.zeros((200, 120), np.uint8)
    label[60:160, 40:80] = 1  # clothes 100 high
    photo = Image.fromarray(np.arange(200 * 120 * 3, dtype=np.uint32).astype(np.uint8).reshape(200, 120, 3))
    near, truth = close_up(photo, label)
    assert truth.shape == (55, 44) and np.array_equal(truth, label[35:90, 38:82])
    assert np.array_equal(np.asarray(near), np.asarray(photo)[35:90, 38:82])
    for edge in (label[:, 50:], label[:, :70]):  # clothes 30 wide that end with the photo
        assert close_up(photo.crop((0, 0, 70, 200)), edge)[1].shape == (55, 15 + 44 // 2)
    for row, column in ((0, 0), (199, 119)):
        label[:] = 0
        label[row, column] = 1
        near, truth = close_up(photo, label)
        assert near.size == truth.shape[::-1] and truth.any()
    assert close_up(photo, label * 0)[0] is photo
