import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from data.photos.open import open_photo
from networks.exporters import EXPORTERS, ForRembg, export_half, export_rembg, open_exported, write_description
from networks.predictor import Predictor
from networks.weights.checkpoint import load_network
from networks.weights.info import INCLUDED_WEIGHTS, CheckpointInfo
from options.export_options import SUFFIXES
from tests.helpers import ROOT, random_photos, trained_like
from utils.errors import UserError

INFO = CheckpointInfo(("background", "upper", "lower", "full"), 64, 96, iteration=7, metrics={"miou": 0.5})


NEEDS = {".safetensors": "safetensors", ".onnx": "onnxruntime", ".xml": "openvino"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_export_computes_the_same_at_any_size_and_describes_itself(suffix, tmp_path, recwarn):
    pytest.importorskip(NEEDS.get(suffix, "torch"), exc_type=ImportError)
    network, path = trained_like("u2netp", 4), tmp_path / os.fsdecode(b"a\xff" + suffix.encode())
    EXPORTERS[suffix](network, INFO, path)
    assert suffix != ".pt" or not recwarn.list
    for size in ((64, 96), (33, 71)):
        engine = open_exported(path, replace(INFO, height=size[0], width=size[1]))
        x = torch.randn(2, 3, *size)
        with torch.inference_mode():
            expected = network.fused(x).numpy()
        np.testing.assert_allclose(engine(x.numpy()), expected, atol=0.02 * np.abs(expected).max())
    if suffix in (".onnx", ".xml") and importlib.util.find_spec("openvino"):
        model = importlib.import_module("openvino").Core().read_model(path)
        assert [port.get_names() for port in (*model.inputs, *model.outputs)] == [{"image"}, {"logits"}]
    if suffix == ".pt":
        inside = {"cloth_segmentation": ""}
        torch.jit.load(io.BytesIO(path.read_bytes()), _extra_files=inside)
        assert json.loads(inside["cloth_segmentation"])["class_names"] == list(INFO.class_names)
    elif suffix != ".xml":
        loaded, info = load_network(path)
        assert replace(info, class_names=INFO.class_names) == INFO
        with torch.inference_mode():
            np.testing.assert_allclose(loaded.fused(x), expected, atol=0.02 * np.abs(expected).max())


def test_a_file_for_rembg_undoes_its_normalisation_and_works_at_the_networks_own_size(tmp_path):
    """rembg feeds 768x768 with ImageNet's normalisation; the network sees 0.5 / 0.5 at 64x96."""
    onnxruntime = pytest.importorskip("onnxruntime")
    network = trained_like("u2netp", 4)
    picture = torch.rand(1, 3, 8, 12)
    large = torch.nn.functional.interpolate(picture, (768, 768), mode="nearest-exact")
    small = torch.nn.functional.interpolate(picture, (INFO.height, INFO.width), mode="nearest-exact")
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    export_rembg(network, INFO, tmp_path / "a.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {"image": ((large - mean) / std).numpy()})[0]
    with torch.inference_mode():
        np.testing.assert_allclose(found, ForRembg(network, INFO)((large - mean) / std), atol=1e-3)
        expected = network.fused((small - 0.5) / 0.5).argmax(1)[0].numpy()
    assert found.shape == (1, 4, 768, 768)
    rows, columns = (np.arange(768) * side // 768 for side in (INFO.height, INFO.width))
    assert np.mean(found.argmax(1)[0] == expected[rows][:, columns]) > 0.9
    with pytest.raises(UserError, match="rembg knows the classes upper, lower, full"):
        export_rembg(network, replace(INFO, class_names=("background", "shoes", "bags", "hats")), tmp_path / "b.onnx")


def test_half_precision_halves_the_file_and_a_counter_may_be_larger_than_it_holds_but_a_weight_may_not(tmp_path):
    network = trained_like("u2netp", 4)
    network.stage1.rebnconvin.bn_s1.num_batches_tracked.fill_(100_000)
    export_half(network, INFO, tmp_path / "half.pth")
    assert (tmp_path / "half.pth").stat().st_size < 2_700_000
    assert load_network(tmp_path / "half.pth")[0].stage1.rebnconvin.bn_s1.num_batches_tracked == 100_000
    network.stage1.rebnconvin.bn_s1.running_var.fill_(-1e6)
    with pytest.raises(UserError, match="stage1.rebnconvin.bn_s1.running_var"):
        export_half(network, INFO, tmp_path / "other.pth")
    assert not (tmp_path / "other.pth").exists()


def test_an_openvino_export_is_a_checkpoint_that_predicts(tmp_path):
    pytest.importorskip("openvino")
    path = tmp_path / "a.xml"
    EXPORTERS[".xml"](trained_like("u2netp", 4), INFO, path)
    photo = random_photos((90, 60))[0]
    predictor = Predictor.load(path, precision="fp32")
    assert (predictor.size, predictor.class_names) == ((64, 96), INFO.class_names)
    expected = open_exported(path, INFO)(predictor.prepare(photo)[None])
    np.testing.assert_allclose(predictor(photo).logits[None], expected, atol=1e-4)
    with pytest.raises(UserError, match="a.xml runs with the engine openvino; for torch give the weights themselves"):
        Predictor.load(path, engine="torch")
    with pytest.raises(UserError, match="a.xml is an OpenVINO model, which can only predict"):
        load_network(path)
    path.with_suffix(".bin").rename(tmp_path / "b.bin")
    with pytest.raises(UserError, match="a.bin"):
        Predictor.load(path)
    for content in ("<?xml version='1.0'?><net name='a'/>", "no model"):
        path.write_text(content)
        path.with_suffix(".bin").touch()
        with pytest.raises(UserError, match="cannot read .*a.xml as an OpenVINO model|not a model that export.py"):
            Predictor.load(path)


# The examples of docs/export.md


def example(language: str) -> str:
    page = (ROOT / "docs/export.md").read_text(encoding="utf-8")
    return re.search(rf"```{language}\n(.*?)```", page, re.S)[1]


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[Path, np.ndarray]:
    """A folder with an export of the included weights, its description, a photo at its size; the photo's labels."""
    folder = tmp_path_factory.mktemp("exported")
    network, info = load_network(INCLUDED_WEIGHTS)
    EXPORTERS[".onnx"](network, info, folder / "small.onnx")
    write_description(info, folder / "small.json")
    photo = open_photo(ROOT / "input_images/eileen_collins.jpg")
    photo.resize((info.width, info.height), Image.Resampling.BILINEAR).save(folder / "photo.png")
    return folder, Predictor.load(engine="torch", device="cpu", precision="fp32")(folder / "photo.png").labels


def test_the_description_is_as_shown_and_the_example_in_python_gives_the_labels(exported, monkeypatch, capsys):
    assert json.loads(example("json")) == json.loads((exported[0] / "small.json").read_text())
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(exported[0])
    names = {}
    exec(example("python").replace("photo.jpg", "photo.png"), names)
    assert np.mean(names["labels"] == exported[1]) > 0.999
    assert "'upper': " in capsys.readouterr().out


NODE = """
const fs = require("fs"), ort = require("onnxruntime-node");
(async () => {
  const session = await ort.InferenceSession.create("small.onnx");
  const labels = await segment(ort, session, JSON.parse(fs.readFileSync("small.json")), fs.readFileSync("pixels"));
  fs.writeFileSync("labels", labels);
})();
"""


def test_the_example_in_javascript_gives_the_labels_of_the_predictor(exported):
    node = shutil.which("node")
    if not node or subprocess.run([node, "-e", "require('onnxruntime-node')"], capture_output=True).returncode:
        pytest.skip("node does not find onnxruntime-node (npm install onnxruntime-node, and set NODE_PATH)")
    folder, expected = exported
    (folder / "pixels").write_bytes(Image.open(folder / "photo.png").convert("RGBA").tobytes())
    done = subprocess.run([node, "-e", example("javascript") + NODE], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    labels = np.frombuffer((folder / "labels").read_bytes(), np.uint8)
    assert np.mean(labels.reshape(expected.shape) == expected) > 0.999


def test_the_calls_of_the_example_in_cpp_give_the_labels_of_the_predictor(exported):
    assert "1 / 127.5, {288, 288}, cv::Scalar::all(127.5), true" in example("cpp")
    network = cv2.dnn.readNetFromONNX(str(exported[0] / "small.onnx"))
    photo = cv2.imread(str(exported[0] / "photo.png"))
    network.setInput(cv2.dnn.blobFromImage(photo, 1 / 127.5, (288, 288), (127.5,) * 3, True))
    assert np.mean(network.forward()[0].argmax(0) == exported[1]) > 0.999
    pair = np.random.default_rng(0).standard_normal((2, 3, 96, 64), np.float32)  # OpenCV takes any size and batch
    network.setInput(pair)
    with torch.inference_mode():
        expected = load_network(INCLUDED_WEIGHTS)[0].fused(torch.from_numpy(pair)).numpy()
    np.testing.assert_allclose(network.forward(), expected, atol=1e-3 * np.abs(expected).max())


def test_the_example_in_cpp_compiles_where_opencvs_headers_are(tmp_path):
    flags = subprocess.run(["pkg-config", "--cflags", "opencv4"], capture_output=True, text=True)
    if not shutil.which("g++") or flags.returncode:
        pytest.skip("needs g++ and OpenCV's headers")
    (tmp_path / "a.cpp").write_text(example("cpp"))
    command = ["g++", "-std=c++17", *flags.stdout.split(), "-fsyntax-only", str(tmp_path / "a.cpp")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
