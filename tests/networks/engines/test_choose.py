"""Which engine runs, that every engine gives the same label maps, and what none can do."""

import os
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from data.photos.open import open_photo
from networks.engines import choose as engines
from networks.engines.choose import choose_engine, load_engine
from networks.engines.openvino_engine import openvino_precision
from networks.engines.settings import ENGINES, EngineSettings
from networks.predictor import Predictor
from tests.helpers import random_photos
from utils.errors import UserError

OTHERS = [
    pytest.param(name, marks=pytest.mark.skipif(not engines.is_installed(name), reason=f"{name} is not installed"))
    for name in ENGINES[1:]
]


def labels_of(engine: str, precision: str, photos: list) -> list[np.ndarray]:
    predictor = Predictor.load(engine=engine, device="cpu", precision=precision)
    return [predictor(photo).labels for photo in photos]


@pytest.fixture(scope="module")
def reference(ccp_val):
    """(photographs, what PyTorch in fp32 makes of them)."""
    photos = [open_photo(path) for path in sorted(ccp_val.image_folder.iterdir())[:5]]
    return photos, labels_of("torch", "fp32", photos)


RUNS = [
    ("torch", "bf16"), *(pytest.param(*each.values, "fp32", marks=each.marks) for each in OTHERS),
    pytest.param("openvino", "bf16", marks=OTHERS[0].marks),
]  # fmt: skip


@pytest.mark.parametrize(("engine", "precision"), RUNS)
def test_every_engine_and_precision_gives_the_labels_of_pytorch_in_fp32(engine, precision, reference):
    if engine == "openvino" and precision == "bf16" and openvino_precision(EngineSettings(engine)) != "bf16":
        pytest.skip("OpenVINO has no bf16 on this processor")
    photos, expected = reference
    found = labels_of(engine, precision, photos)
    assert np.mean([np.mean(a == b) for a, b in zip(expected, found, strict=True)]) >= 0.998


@pytest.mark.parametrize("engine", OTHERS)
def test_weights_run_on_an_engine_at_any_size(engine, tiny_checkpoint):
    settings = {"device": "cpu", "precision": "fp32", "height": 96, "width": 64}
    (photo,) = random_photos((90, 60))
    expected = Predictor.load(tiny_checkpoint, engine="torch", **settings)(photo).logits
    found = Predictor.load(tiny_checkpoint, engine=engine, **settings)(photo).logits
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("engine", ["torch", *OTHERS])
def test_images_come_back_in_order_and_as_they_come_alone_in_batches_and_threads(engine, tiny_checkpoint):
    """OpenVINO has several under way at a time, and the last batch of a folder is smaller than those before."""
    loaded, _ = load_engine(tiny_checkpoint, EngineSettings(engine, "cpu", "fp32"), 64, 64)
    images = np.random.default_rng(0).standard_normal((5, 3, 64, 64), np.float32)
    expected = np.concatenate([loaded(image[None]) for image in images])
    assert len({array.tobytes() for array in expected}) == 5
    parts = [slice(3), slice(5), slice(2), slice(1, 5)]
    with ThreadPoolExecutor(6) as pool:
        batches = [images[part] for part in parts] * 2
        logits = [*map(loaded, batches), *pool.map(loaded, batches)]
    for part, found in zip(parts * 4, logits, strict=True):
        np.testing.assert_allclose(found, expected[part], atol=1e-4)


def test_processes_of_a_machine_share_its_cores(tiny_checkpoint, launched, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    monkeypatch.setattr(torch, "set_num_threads", threads := Mock())
    launched(RANK=0, WORLD_SIZE=2, LOCAL_RANK=0, LOCAL_WORLD_SIZE=2)
    load_engine(tiny_checkpoint, EngineSettings("torch", "cpu"))
    threads.assert_called_once_with(1)


@pytest.mark.parametrize(
    ("settings", "gpu", "bf16", "installed", "expected"),
    [
        ({}, False, False, ENGINES, "openvino"), ({"device": "cpu"}, True, True, ENGINES, "openvino"),
        ({}, False, False, {"onnxruntime"}, "onnxruntime"), ({}, False, True, {"onnxruntime"}, "torch"),
        ({}, False, False, (), "torch"), ({}, True, False, ENGINES, "torch"),
        ({"device": "mps"}, True, False, ENGINES, "torch"), ({"compiled": True}, False, False, ENGINES, "torch"),
        ({"precision": "bf16"}, False, True, ENGINES, "openvino"),
        ({"precision": "bf16"}, False, False, ENGINES, "torch"),
        ({"engine": "onnxruntime"}, False, True, ENGINES, "onnxruntime"),
    ],
)  # fmt: skip
def test_auto_takes_the_fastest_engine_that_can_do_what_is_asked(monkeypatch, settings, gpu, bf16, installed, expected):
    monkeypatch.setattr(engines, "may_have_gpu", lambda: gpu)
    monkeypatch.setattr(engines, "cpu_has_bf16", lambda: bf16)
    monkeypatch.setattr(engines, "is_installed", lambda engine: engine in installed)
    assert choose_engine(EngineSettings(**settings)) == expected


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"engine": "openvino", "device": "cuda"}, "openvino runs on the CPU, not on cuda; use the engine torch"),
        ({"engine": "openvino", "precision": "fp16"}, "OpenVINO has no precision fp16 on this processor; use auto"),
        ({"engine": "onnxruntime", "device": "mps"}, "device mps: this ONNX Runtime cannot use it; pip install"),
        ({"engine": "onnxruntime", "precision": "bf16"}, "computes in fp32, not in bf16; use auto"),
        ({"engine": "onnxruntime", "compiled": True}, "compiled is for PyTorch; leave it out with the engine"),
        ({"engine": None}, "engine is None; use auto, torch, openvino or onnxruntime"),
        ({"precision": "int8"}, "precision is 'int8'; use auto, fp32, bf16 or fp16"),
        ({"device": "cuda:x"}, "unknown device 'cuda:x'; use auto, cpu, cuda, cuda:N or mps"),
        *(({"threads": n}, f"threads is {n}; it must be a whole number from 1 to 1024") for n in (0, 10**12)),
        ({"compiled": "no"}, "compiled is 'no'; it must be True or False"),
        ({"path": None}, "path is None; it must be the path of a weight file"),
        ({"flip": "no"}, "flip is 'no'; it must be True or False"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_done_is_one_line_and_never_a_fallback(settings, words):
    engine = settings.get("engine")
    if engine in ENGINES and not engines.is_installed(engine):
        pytest.skip(f"{engine} is not installed")
    with pytest.raises(UserError) as error:
        Predictor.load(**{"device": "cpu"} | settings)
    assert words in str(error.value)
