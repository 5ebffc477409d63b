"""Every engine gives the same label maps; models are converted once; nothing is written where it should not be."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from data.classes import CLOTHES
from data.labels.read import read_labels
from data.training.samples import EvaluationPhotos
from networks.engines import choose as engines
from networks.engines.choose import ENGINES, choose_engine
from networks.predictor import Predictor
from tests.helpers import ROOT, run_script
from utils.cache import cache_folder, cached
from utils.errors import UserError
from utils.evaluation.compare import evaluate

OTHERS = [pytest.param(name, marks=pytest.mark.skipif(not engines._installed(name), reason=f"{name} is not installed"))
          for name in ENGINES[1:]]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    """The user's own cache is not touched."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("XDG_CACHE_HOME")
    if before is not None:
        os.environ["XDG_CACHE_HOME"] = before


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


@pytest.mark.parametrize("engine", OTHERS)
def test_an_engine_gives_the_labels_and_figures_of_pytorch_on_real_photographs(engine, reference):
    photos, (expected, figures) = reference
    labels, found = measured(engine, "fp32", photos)
    assert np.mean([np.mean(a == b) for a, b in zip(expected, labels, strict=True)]) >= 0.998
    assert found == pytest.approx(figures, abs=0.002)


@pytest.mark.parametrize("engine", ["torch", *OTHERS[:1]])
def test_an_engine_gives_the_same_labels_and_figures_in_bf16(engine, reference):
    if engine == "openvino" and engines.openvino_precision("cpu", "auto") != "bf16":
        pytest.skip("OpenVINO has no bf16 on this processor")
    photos, (expected, figures) = reference
    labels, found = measured(engine, "bf16", photos)
    assert np.mean([np.mean(a == b) for a, b in zip(expected, labels, strict=True)]) >= 0.998
    assert found == pytest.approx(figures, abs=0.002)


@pytest.mark.parametrize("engine", OTHERS)
def test_weights_of_any_form_and_size_run_on_an_engine(engine, tiny_checkpoint, photo):
    """The published architecture with other weights, at a size that is not square."""
    size = {"height": 96, "width": 64}
    expected = Predictor.load(tiny_checkpoint, engine="torch", device="cpu", precision="fp32", **size)(photo)
    found = Predictor.load(tiny_checkpoint, engine=engine, device="cpu", precision="fp32", **size)(photo)
    assert found.class_names == ("background", "upper", "lower", "full")
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-3 * np.abs(expected.logits).max())


@pytest.mark.parametrize("engine", OTHERS)
@pytest.mark.parametrize("count", [2, 3, 5])
def test_images_of_a_batch_come_back_in_order_and_as_they_come_alone(engine, count, tiny_checkpoint):
    """OpenVINO has several under way at a time, and the last batch of a folder is smaller than those before."""
    loaded, _ = engines.load_engine(tiny_checkpoint, engine, "cpu", "fp32", 64, 64)
    images = np.random.default_rng(count).standard_normal((count, 3, 64, 64), np.float32)
    expected = np.concatenate([loaded(image[None]) for image in images])
    assert len({array.tobytes() for array in expected}) == count
    for part in (slice(count), slice(2), slice(1, count)):
        np.testing.assert_allclose(loaded(images[part]), expected[part], atol=1e-4)


def test_a_network_is_compiled_when_that_is_asked_for_and_by_pytorch_alone(tiny_checkpoint, photo, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function: compiled.append(function) or function)
    expected = Predictor.load(tiny_checkpoint, engine="torch", device="cpu", precision="fp32")(photo)
    assert not compiled
    found = Predictor.load(tiny_checkpoint, device="cpu", precision="fp32", compiled=True)(photo)
    assert len(compiled) == 1 and np.array_equal(found.labels, expected.labels)
    with pytest.raises(UserError, match="--compile is for PyTorch; leave it out with --engine onnxruntime"):
        Predictor.load(tiny_checkpoint, engine="onnxruntime", compiled=True)


@pytest.mark.parametrize("engine", OTHERS[:1])
def test_openvino_works_on_several_images_at_a_time_where_a_batch_has_them(engine, tiny_checkpoint, monkeypatch):
    monkeypatch.setattr("networks.engines.openvino.cores", lambda: 3)
    loaded, _ = engines.load_engine(tiny_checkpoint, engine, "cpu", "fp32", 64, 64)
    images = np.zeros((4, 3, 64, 64), np.float32)
    widths = []
    for count in (1, 2, 4, 2, 1):
        loaded(images[:count])
        widths.append(loaded._at_a_time)
    assert widths == [1, 2, 3, 3, 3]
    assert [len(loaded._requests(width)) for width in (1, 3)] == [1, 3]


@pytest.mark.parametrize("engine", OTHERS)
def test_the_second_start_needs_no_pytorch(engine, tiny_checkpoint, photo):
    Predictor.load(tiny_checkpoint, engine=engine, device="cpu")(photo)
    code = (
        "import sys; from networks.predictor import Predictor;"
        f"Predictor.load({str(tiny_checkpoint)!r}, engine={engine!r}, device='cpu')"
        "('input_images/eileen_collins.jpg').labels; print('torch' in sys.modules)"
    )
    result = run_script("-c", code)
    assert (result.stdout.strip(), result.returncode) == ("False", 0), result.stderr


@pytest.mark.parametrize("engine", OTHERS)
def test_a_broken_cache_is_made_again(engine, tiny_checkpoint, photo):
    expected = Predictor.load(tiny_checkpoint, engine=engine, device="cpu")(photo)
    files = [path for path in cache_folder().iterdir() if path.is_file()]
    assert files
    for path in files:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    found = Predictor.load(tiny_checkpoint, engine=engine, device="cpu")(photo)
    np.testing.assert_array_equal(found.labels, expected.labels)


def test_a_cache_is_used_and_one_that_cannot_be_written_is_no_obstacle(monkeypatch, tmp_path):
    made = []

    def make() -> bytes:
        made.append(1)
        return b"content"

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert [cached("name", make) for _ in range(2)] == [b"content"] * 2
    assert len(made) == 1
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cached("name", make) == b"content"
    assert len(made) == 2


@pytest.mark.parametrize("engine", OTHERS)
def test_the_home_folder_stays_empty(engine, tmp_path):
    """Both libraries write an identity for their telemetry there unless they are told not to."""
    home, cache = tmp_path / "home", tmp_path / "cache"
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "ORT_DISABLE_TELEMETRY")}
    result = subprocess.run(
        [sys.executable, "infer.py", "--engine", engine, "--device", "cpu", "--result_dir", str(tmp_path / "out")],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
        env=environment | {"HOME": str(home), "XDG_CACHE_HOME": str(cache)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert list(home.rglob("*")) == []
    assert list(cache.rglob("*"))


@pytest.mark.parametrize("engine", ["torch", *OTHERS])
def test_processes_of_a_machine_share_its_cores(engine, tiny_checkpoint, launched, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    given = []
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    launched(RANK=0, WORLD_SIZE=2, LOCAL_RANK=0, LOCAL_WORLD_SIZE=2)
    loaded, _ = engines.load_engine(tiny_checkpoint, engine, "cpu")
    if engine == "openvino":
        request, *others = loaded._requests(1)
        assert others == []
        given.append(request.get_compiled_model().get_property("INFERENCE_NUM_THREADS"))
    elif engine == "onnxruntime":
        given.append(loaded._session.get_session_options().intra_op_num_threads)
    assert given == [1]


@pytest.mark.parametrize("engine", ["torch", *OTHERS])
def test_one_gpu_for_all_processes_of_a_machine_is_refused(engine, tiny_checkpoint, launched, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    launched(RANK=1, WORLD_SIZE=2, LOCAL_RANK=1)
    with pytest.raises(UserError, match="--engine openvino runs on the CPU|on one GPU; use --device cuda"):
        engines.load_engine(tiny_checkpoint, engine, "cuda:0")


def test_an_engine_that_is_not_installed_is_named_with_its_install_line(monkeypatch):
    monkeypatch.setattr(engines, "_installed", lambda package: False)
    for engine in ENGINES[1:]:
        with pytest.raises(UserError, match=f"--engine {engine} is not installed: pip install {engine}"):
            choose_engine(engine, "cpu")


@pytest.mark.parametrize(
    ("device", "gpu", "bf16", "installed", "expected"),
    [
        ("auto", False, False, {"openvino", "onnxruntime"}, "openvino"),
        ("cpu", True, True, {"openvino", "onnxruntime"}, "openvino"),
        ("auto", False, False, {"onnxruntime"}, "onnxruntime"),
        ("auto", False, True, {"onnxruntime"}, "torch"),
        ("auto", False, False, set(), "torch"),
        ("auto", True, False, {"openvino", "onnxruntime"}, "torch"),
        ("cuda", True, False, {"openvino", "onnxruntime"}, "torch"),
        ("mps", True, False, {"openvino"}, "torch"),
        ("cpu", False, True, {"openvino"}, "openvino"),
    ],
)
def test_auto_takes_the_fastest_engine_for_the_device(monkeypatch, device, gpu, bf16, installed, expected):
    monkeypatch.setattr(engines, "may_have_gpu", lambda: gpu)
    monkeypatch.setattr(engines, "cpu_has_bf16", lambda: bf16)
    monkeypatch.setattr(engines, "_installed", lambda package: package in installed)
    assert choose_engine("auto", device) == expected


@pytest.mark.parametrize(
    ("precision", "bf16", "expected"),
    [("bf16", True, "openvino"), ("bf16", False, "torch"), ("fp16", True, "torch"), ("fp32", False, "openvino")],
)
def test_auto_passes_over_an_engine_that_cannot_compute_in_the_precision(monkeypatch, precision, bf16, expected):
    monkeypatch.setattr(engines, "cpu_has_bf16", lambda: bf16)
    monkeypatch.setattr(engines, "_installed", lambda package: True)
    assert choose_engine("auto", "cpu", precision) == expected


@pytest.mark.parametrize("engine", ["torch", *OTHERS])
def test_threads_that_share_an_engine_each_get_their_own_logits(engine, tiny_checkpoint):
    loaded, _ = engines.load_engine(tiny_checkpoint, engine, "cpu", "fp32", 64, 64)
    batches = np.random.default_rng(0).standard_normal((12, 2, 3, 64, 64), np.float32)
    expected = [loaded(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(loaded, batches), expected, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("engine", "device", "precision", "words"),
    [
        ("openvino", "cuda", "auto", ["--engine openvino runs on the CPU", "--engine torch"]),
        ("onnxruntime", "cuda", "auto", ["--device cuda", "onnxruntime-gpu"]),
        ("onnxruntime", "cpu", "bf16", ["fp32", "--precision auto"]),
        ("onnxruntime", "tpu", "auto", ["unknown device"]),
    ],
)
def test_what_an_engine_cannot_do_is_one_line_and_never_a_fallback(engine, device, precision, words):
    if not engines._installed(engine):
        pytest.skip(f"{engine} is not installed")
    if engine == "onnxruntime" and device == "cuda":
        import onnxruntime

        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(UserError) as error:
        Predictor.load(engine=engine, device=device, precision=precision)
    for word in words:
        assert word in str(error.value)
