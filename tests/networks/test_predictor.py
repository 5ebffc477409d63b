import copy
import os
import pickle
import weakref
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

from data.photos.open import PhotoError, open_photo
from data.photos.preprocessing import prepare
from networks.engines.settings import ENGINES, is_installed
from networks.predictor import Predictor
from networks.weights.checkpoint import save_checkpoint
from networks.weights.info import CheckpointInfo
from tests.helpers import exif_of, random_photos, run_script, trained_like
from utils.errors import UserError

SIZES = (50, 70), (90, 31), (64, 64), (33, 120), (40, 40)
NAMES = ("background", "upper", "lower", "full")


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint) -> Predictor:
    return Predictor.load(tiny_checkpoint, "cpu", "fp32")


def first_channels() -> Mock:
    """An engine whose logits are the image's channels and the first again."""
    return Mock(side_effect=lambda images: np.concatenate((images, images[:, :1]), 1))


def test_photos_in_any_form_are_taken_one_by_one_or_as_a_list_or_generator(tiny, tmp_path):
    random_photos((50, 70))[0].save(tmp_path / "turned.png", exif=exif_of(6))
    array = np.asarray(Image.open(tmp_path / "turned.png"))
    expected = tiny(tmp_path / "turned.png", upright=False)
    assert (tiny(tmp_path / "turned.png").labels.shape, expected.labels.shape) == ((70, 50), (50, 70))
    assert np.array_equal(tiny(array).logits, expected.logits)
    assert np.array_equal(tiny(array[..., ::-1], bgr=True).logits, expected.logits)
    forms = [array, Image.fromarray(array)]
    for photos in (forms, iter(forms), np.stack([array] * 2)):
        assert [np.array_equal(each.labels, expected.labels) for each in tiny.predict(photos)] == [True] * 2
    assert tiny.predict([]) == []


@pytest.mark.parametrize(
    "photos", [None, "a.jpg", b"bytes", Path("a.jpg"), Image.new("RGB", (8, 8)), np.zeros((8, 8, 3))]
)
def test_one_photo_is_not_taken_for_several(photos, tiny):
    with pytest.raises(PhotoError, match="predict takes several photos, such as a list"):
        tiny.predict(photos)


def test_a_predictor_is_pickled_and_copied_by_loading_it_again(tiny_checkpoint, monkeypatch):
    photo = random_photos((60, 45))[0]
    monkeypatch.chdir(tiny_checkpoint.parent)
    predictor = Predictor.load(tiny_checkpoint.name, torch.device("cpu"), "fp32", height=96, flip=True)
    monkeypatch.chdir("/")
    for copied in (pickle.loads(pickle.dumps(predictor)), copy.deepcopy(predictor)):
        assert copied.engine is not predictor.engine
        assert (copied.size, copied.flip, copied.name) == ((96, 64), True, predictor.name)
        assert np.array_equal(copied(photo).logits, predictor(photo).logits)
    with pytest.raises(UserError, match="only what Predictor.load gives"):
        pickle.dumps(Predictor(first_channels(), CheckpointInfo(NAMES)))


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if is_installed(engine)])
def test_a_predictor_keeps_the_weights_that_its_file_had(engine, tmp_path):
    path, photo = tmp_path / "a.pth", random_photos((60, 45))[0]
    predictors = []
    for seed in (10, 11):
        save_checkpoint(path, trained_like("u2netp", 4, seed), CheckpointInfo(NAMES, 64, 64))
        predictors.append(Predictor.load(path, "cpu", "fp32", engine=engine))
    path.unlink()
    first, second = (predictor(photo).logits for predictor in predictors)
    assert np.abs(first - second).max() > 0.1


def test_of_several_photos_the_one_that_cannot_be_used_is_named(tiny):
    with pytest.raises(PhotoError, match="photo 1: no such file"):
        tiny.predict([np.zeros((8, 8, 3), np.uint8), "absent.jpg"])


FORK = """
import os, signal
from networks.predictor import Predictor
settings = {{"engine": {engine!r}, "device": "cpu", "threads": 2}}
predictor = Predictor.load(**settings)
predictor("input_images/eileen_collins.jpg")
for attempt in (lambda: predictor("input_images/eileen_collins.jpg"), lambda: Predictor.load(**settings)):
    if os.fork() == 0:
        signal.alarm(5)  # ends a process that waits
        try:
            attempt()
        except Exception as error:
            print(f"{{type(error).__name__}}: {{error}}", flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("engine", [engine for engine in ENGINES if is_installed(engine)])
def test_a_process_forked_after_loading_says_at_once_what_to_do(engine):
    result = run_script("-c", FORK.format(engine=engine))
    assert result.stdout.count("UserError: this process was forked") == 2, result.stdout + result.stderr


def test_any_engine_gets_images_normalised_as_its_file_says():
    engine, photo = first_channels(), random_photos((50, 70))[0]
    result = Predictor(engine, CheckpointInfo(NAMES, 40, 48, mean=0.4, std=0.3))(photo)
    given = engine.call_args.args[0]
    assert np.array_equal(given, prepare(photo, (40, 48), 0.4, 0.3)[None])
    assert np.array_equal(result.logits[:3], given[0])


def test_flip_gives_the_mean_of_a_photo_and_its_mirror_image(tiny_checkpoint):
    photo = random_photos((64, 64))[0]
    mirrored = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    plain, flip = (Predictor.load(tiny_checkpoint, "cpu", "fp32", flip=f) for f in (False, True))
    ways = plain(photo).logits, plain(mirrored).logits[..., ::-1]
    np.testing.assert_allclose(flip(photo).logits, np.mean(ways, 0), atol=1e-4)
    assert np.abs(ways[0] - ways[1]).max() > 1e-3


@pytest.mark.parametrize(("batch_size", "keep_photos"), [(1, True), (2, False), (10, True)])
def test_a_stream_gives_the_same_in_order_with_broken_photographs_between(batch_size, keep_photos, tiny, tmp_path):
    photos = dict(enumerate(random_photos(*SIZES)))
    items = [0, "broken", 1, 2, "broken", "broken", 3, 4]
    (tmp_path / "broken.jpg").write_text("no image")

    def load(item):
        return open_photo(tmp_path / "broken.jpg") if item == "broken" else photos[item]

    with ThreadPoolExecutor(2) as pool:
        found = list(tiny.predict_stream(iter(items), load, batch_size, pool, keep_photos))
    assert [item for item, _ in found] == items
    for item, result in found:
        if item == "broken":
            assert isinstance(result, PhotoError)
        else:
            np.testing.assert_allclose(result.logits, tiny(photos[item]).logits, atol=1e-4)
            assert result.photo is (photos[item] if keep_photos else None)


def test_a_stream_keeps_the_photographs_of_three_batches_at_most():
    made, alive = [], []

    def submit(function, item) -> Future:
        future = Future()
        future.set_result(function(item))
        return future

    def load(_) -> Image.Image:
        photo = Image.new("RGB", (8, 8))
        made.append(weakref.ref(photo))
        return photo

    def engine(images: np.ndarray) -> np.ndarray:
        alive.append(sum(photo() is not None for photo in made))
        return np.zeros((len(images), 4, 8, 8), np.float32)

    predictor = Predictor(Mock(side_effect=engine), CheckpointInfo(NAMES, 8, 8))
    deque(predictor.predict_stream(range(12), load, 2, Mock(submit=submit)), 0)  # takes them and keeps none
    assert max(alive) == 6


def test_after_an_error_of_the_network_no_more_photographs_are_loaded():
    waiting = [Future() for _ in range(3)]
    waiting[0].set_result((np.zeros((3, 8, 8), np.float32), (8, 8), None))
    predictor = Predictor(Mock(side_effect=MemoryError), CheckpointInfo(NAMES, 8, 8))
    with pytest.raises(MemoryError) as _traceback:  # it keeps the generator
        next(predictor.predict_stream(range(9), Mock(), 1, Mock(submit=Mock(side_effect=waiting))))
    assert [future.cancelled() for future in waiting] == [False, True, True]
