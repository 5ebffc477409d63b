"""Every engine gives the same label maps; models are converted once; nothing is written where it should not be."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from data.classes import CLOTHES
from data.labels.read import read_labels
from data.training.datasets import EvaluationPhotos
from networks.engines import choose as engines
from networks.engines.choose import choose_engine, load_engine
from networks.engines.openvino_engine import openvino_precision
from networks.engines.settings import ENGINES, EngineSettings
from networks.predictor import Predictor
from tests.helpers import ROOT, run_script
from utils.cache_folder import cache_folder
from utils.errors import UserError
from utils.evaluation.against_truth import evaluate

OTHERS = [
    pytest.param(name, marks=pytest.mark.skipif(not engines.is_installed(name), reason=f"{name} is not installed"))
    for name in ENGINES[1:]
]


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.open(ROOT / "input_images/eileen_collins.jpg").convert("RGB")


def measured(engine: str, precision: str, photos: list) -> tuple[list[np.ndarray], dict[str, float]]:
    """Label maps of (index, photo, truth), and the figures that evaluate.py prints of them."""
    predictor, labels = Predictor.load(engine=engine, device="cpu", precision=precision), []

    def predict(photographs: list[Image.Image]) -> list:
        results = predictor.predict(photographs)
        labels.extend(result.labels for result in results)
        return results

    return labels, evaluate(predict, photos, len(CLOTHES.names), boundary=False).means()


@pytest.fixture(scope="module")
def reference(ccp_val):
    """(photographs with their truths, what PyTorch in fp32 makes of them)."""
    table = read_labels(str(ccp_val.df_path), str(ccp_val.image_folder), CLOTHES, max_photos=48)
    photos = list(EvaluationPhotos(table).load(range(len(table))))
    return photos, measured("torch", "fp32", photos)


RUNS = [
    ("torch", "bf16"), *(pytest.param(*each.values, "fp32", marks=each.marks) for each in OTHERS),
    pytest.param("openvino", "bf16", marks=OTHERS[0].marks),
]  # fmt: skip


@pytest.mark.parametrize(("engine", "precision"), RUNS)
def test_every_engine_and_precision_gives_the_labels_and_figures_of_pytorch_in_fp32(engine, precision, reference):
    if engine == "openvino" and precision == "bf16" and openvino_precision(EngineSettings(engine)) != "bf16":
        pytest.skip("OpenVINO has no bf16 on this processor")
    photos, (expected, figures) = reference
    labels, found = measured(engine, precision, photos)
    assert np.mean([np.mean(a == b) for a, b in zip(expected, labels, strict=True)]) >= 0.998
    assert found == pytest.approx(figures, abs=0.002)


@pytest.mark.parametrize("engine", OTHERS)
def test_weights_run_on_an_engine_at_any_size_and_a_broken_cache_is_made_again(engine, tiny_checkpoint, photo):
    settings = {"device": "cpu", "precision": "fp32", "height": 96, "width": 64}
    expected = Predictor.load(tiny_checkpoint, engine="torch", **settings)(photo).logits
    for _ in range(2):
        found = Predictor.load(tiny_checkpoint, engine=engine, **settings)(photo)
        np.testing.assert_allclose(found.logits, expected, atol=1e-3 * np.abs(expected).max())
        assert (files := [path for path in cache_folder().iterdir() if path.is_file()])
        for path in files:
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 0xFF
            path.write_bytes(content)


@pytest.mark.parametrize("engine", ["torch", *OTHERS])
def test_images_come_back_in_order_and_as_they_come_alone_in_batches_and_threads(engine, tiny_checkpoint):
    """OpenVINO has several under way at a time, and the last batch of a folder is smaller than those before."""
    loaded, _ = load_engine(tiny_checkpoint, EngineSettings(engine, "cpu", "fp32"), 64, 64)
    images = np.random.default_rng(0).standard_normal((5, 3, 64, 64), np.float32)
    expected = np.concatenate([loaded(image[None]) for image in images])
    assert len({array.tobytes() for array in expected}) == 5
    parts = [slice(3), slice(5), slice(2), slice(1, 5)]
    with ThreadPoolExecutor(6) as pool:
        batches = [images[part] for part in parts] * 4
        logits = [*map(loaded, batches), *pool.map(loaded, batches)]
    for part, found in zip(parts * 8, logits, strict=True):
        np.testing.assert_allclose(found, expected[part], atol=1e-4)


def test_a_network_is_compiled_when_that_is_asked_for_and_by_pytorch_alone(tiny_checkpoint, photo, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function: compiled.append(function) or function)
    expected = Predictor.load(tiny_checkpoint, engine="torch", device="cpu", precision="fp32")(photo)
    assert not compiled
    found = Predictor.load(tiny_checkpoint, device="cpu", precision="fp32", compiled=True)(photo)
    assert len(compiled) == 1 and np.array_equal(found.labels, expected.labels)


@pytest.mark.parametrize("engine", OTHERS[:1])
def test_openvino_works_on_several_images_at_a_time_where_a_batch_has_them(engine, tiny_checkpoint, monkeypatch):
    monkeypatch.setattr("networks.engines.openvino_engine.cores", lambda: 3)
    loaded, _ = load_engine(tiny_checkpoint, EngineSettings(engine, "cpu", "fp32"), 64, 64)
    widths = []
    for count in (1, 2, 4, 2, 1):
        loaded(np.zeros((count, 3, 64, 64), np.float32))
        widths.append(loaded._at_a_time)
    assert widths == [1, 2, 3, 3, 3]
    assert [len(loaded._queue(width)) for width in (1, 3)] == [1, 3]


@pytest.mark.parametrize("engine", OTHERS)
def test_the_second_start_needs_no_pytorch_and_the_home_folder_stays_empty(engine, tmp_path):
    """Both libraries write an identity for their telemetry there unless they are told not to."""
    home, cache = tmp_path / "home", tmp_path / "cache"
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "ORT_DISABLE_TELEMETRY")}
    code = f"""import sys; from networks.predictor import Predictor
Predictor.load(engine={engine!r}, device='cpu')('input_images/eileen_collins.jpg').labels
print('torch' in sys.modules)"""
    for imported in ("True", "False"):
        result = run_script("-c", code, env=environment | {"HOME": str(home), "XDG_CACHE_HOME": str(cache)})
        assert (result.stdout.strip(), result.returncode) == (imported, 0), result.stderr
    assert not list(home.rglob("*")) and list(cache.rglob("*"))


@pytest.mark.parametrize("engine", ["torch", *OTHERS])
def test_processes_of_a_machine_share_its_cores_but_not_a_gpu(engine, tiny_checkpoint, launched, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    given = []
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    launched(RANK=0, WORLD_SIZE=2, LOCAL_RANK=0, LOCAL_WORLD_SIZE=2)
    loaded, _ = load_engine(tiny_checkpoint, EngineSettings(engine, "cpu"))
    if engine == "openvino":
        given.append(loaded._queue(1)[0].get_compiled_model().get_property("INFERENCE_NUM_THREADS"))
    elif engine == "onnxruntime":
        given.append(loaded._session.get_session_options().intra_op_num_threads)
    assert given == [1]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    if engine != "openvino":
        with pytest.raises(UserError, match="on one GPU; use cuda"):
            load_engine(tiny_checkpoint, EngineSettings(engine, "cuda:0"))


@pytest.mark.parametrize(
    ("settings", "gpu", "bf16", "installed", "expected"),
    [
        ({}, False, False, ENGINES, "openvino"), ({"device": "cpu"}, True, True, ENGINES, "openvino"),
        ({"device": "cpu"}, False, True, {"openvino"}, "openvino"), ({}, False, False, {"onnxruntime"}, "onnxruntime"),
        ({}, False, True, {"onnxruntime"}, "torch"), ({}, False, False, (), "torch"),
        ({}, True, False, ENGINES, "torch"), ({"device": "cuda"}, True, False, ENGINES, "torch"),
        ({"device": "mps"}, True, False, ENGINES, "torch"), ({"compiled": True}, False, False, ENGINES, "torch"),
        ({"precision": "bf16"}, False, True, ENGINES, "openvino"),
        ({"precision": "bf16"}, False, False, ENGINES, "torch"),
        ({"precision": "fp16"}, False, True, ENGINES, "torch"),
        ({"precision": "fp32"}, False, False, ENGINES, "openvino"),
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
        ({"engine": "onnxruntime", "device": "cuda"}, "device cuda: this ONNX Runtime cannot use it; pip install"),
        ({"engine": "onnxruntime", "precision": "bf16"}, "computes in fp32, not in bf16; use auto"),
        ({"engine": "onnxruntime", "compiled": True}, "compiled is for PyTorch; leave it out with the engine"),
        ({"engine": "ONNXRuntime"}, "engine is 'ONNXRuntime'; use auto, torch, openvino or onnxruntime"),
        ({"engine": None}, "engine is None; use auto, torch"), ({"precision": 16}, "precision is 16; use auto"),
        ({"precision": "int8"}, "precision is 'int8'; use auto, fp32, bf16 or fp16"),
        ({"device": "tpu"}, "unknown device 'tpu'; use auto, cpu, cuda, cuda:N or mps"),
        ({"device": 0}, "unknown device 0; use auto"), ({"device": "cuda:x"}, "unknown device 'cuda:x'"),
        ({"threads": 0}, "threads is 0; it must be a whole number from 1 on"),
        ({"threads": 2.0}, "threads is 2.0; it must be"), ({"threads": "2"}, "threads is '2'; it must be"),
        ({"path": None}, "path is None; it must be the path of a weight file"),
        ({"flip": "no"}, "flip is 'no'; it must be True or False"), ({"width": 16}, "width is 16; it must be"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_done_is_one_line_and_never_a_fallback(settings, words):
    engine = settings.get("engine")
    if engine in ENGINES and not engines.is_installed(engine):
        pytest.skip(f"{engine} is not installed")
    if settings == {"engine": "onnxruntime", "device": "cuda"}:
        providers = pytest.importorskip("onnxruntime").get_available_providers()
        if "CUDAExecutionProvider" in providers:
            pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(UserError) as error:
        Predictor.load(**{"device": "cpu"} | settings)
    assert words in str(error.value)


@pytest.mark.parametrize("engine", ENGINES[1:])
def test_an_engine_that_is_not_installed_is_named_with_its_install_line(engine, monkeypatch):
    monkeypatch.setattr("networks.engines.settings.is_installed", lambda engine: False)
    with pytest.raises(UserError, match=f"the engine {engine} is not installed: pip install {engine}"):
        choose_engine(EngineSettings(engine))
