from dataclasses import replace

import numpy as np
import pytest
import torch

from networks.exporters import EXPORTERS, ForRembg, export_half, export_rembg, export_torchscript, open_exported
from networks.weights.checkpoint import load_network
from networks.weights.info import CheckpointInfo
from options.export_options import SUFFIXES
from tests.helpers import trained_like
from utils.errors import UserError

INFO = CheckpointInfo(("background", "upper", "lower", "full"), 64, 96, iteration=7, metrics={"miou": 0.5})


def test_there_is_an_exporter_for_every_suffix_of_the_options():
    assert set(EXPORTERS) == set(SUFFIXES)


NEEDS = {".safetensors": "safetensors", ".onnx": "onnxruntime", ".xml": "openvino"}


def test_opencv_runs_the_onnx_file_at_any_size_and_batch(tmp_path):
    cv2, network = pytest.importorskip("cv2"), trained_like("u2netp", 4)
    EXPORTERS[".onnx"](network, INFO, tmp_path / "a.onnx")
    reader = cv2.dnn.readNetFromONNX(str(tmp_path / "a.onnx"))
    for shape in ((1, 3, 64, 64), (2, 3, 96, 64)):
        x = torch.randn(shape)
        reader.setInput(x.numpy())
        with torch.inference_mode():
            np.testing.assert_allclose(reader.forward(), network.fused(x).numpy(), atol=1e-4)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_export_computes_the_same_at_any_size(suffix, tmp_path):
    pytest.importorskip(NEEDS.get(suffix, "torch"), exc_type=ImportError)
    network, path = trained_like("u2netp", 4), tmp_path / f"a{suffix}"
    EXPORTERS[suffix](network, INFO, path)
    for size in ((64, 96), (33, 71)):
        engine = open_exported(path, replace(INFO, height=size[0], width=size[1]))
        x = torch.randn(2, 3, *size)
        with torch.inference_mode():
            expected = network.fused(x).numpy()
        np.testing.assert_allclose(engine(x.numpy()), expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors"])
def test_an_export_is_read_back_with_its_description(suffix, tmp_path):
    pytest.importorskip(NEEDS[suffix])
    EXPORTERS[suffix](trained_like("u2netp", 4), INFO, tmp_path / f"a{suffix}")
    assert replace(load_network(tmp_path / f"a{suffix}")[1], class_names=INFO.class_names) == INFO


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
        np.testing.assert_allclose(found, ForRembg(network, INFO).fused((large - mean) / std), atol=1e-3)
        expected = network.fused((small - 0.5) / 0.5).argmax(1)[0].numpy()
    there = found.argmax(1)[0]
    assert there.shape == (768, 768)
    rows, columns = (np.arange(768) * INFO.height // 768, np.arange(768) * INFO.width // 768)
    assert np.mean(there == expected[rows][:, columns]) > 0.9


def test_a_half_precision_checkpoint_is_half_as_large_and_keeps_its_description(tmp_path):
    export_half(trained_like("u2netp", 4), INFO, tmp_path / "half.pth")
    assert (tmp_path / "half.pth").stat().st_size < 2_700_000
    network, info = load_network(tmp_path / "half.pth")
    assert info == INFO
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_a_counter_may_be_larger_than_half_precision_holds_but_a_weight_may_not(tmp_path):
    network = trained_like("u2netp", 4)
    network.stage1.rebnconvin.bn_s1.num_batches_tracked.fill_(100_000)
    export_half(network, INFO, tmp_path / "half.pth")
    assert load_network(tmp_path / "half.pth")[0].stage1.rebnconvin.bn_s1.num_batches_tracked == 100_000
    network.stage1.rebnconvin.bn_s1.running_var.fill_(1e6)
    with pytest.raises(UserError, match="stage1.rebnconvin.bn_s1.running_var"):
        export_half(network, INFO, tmp_path / "other.pth")
    assert not (tmp_path / "other.pth").exists()


def test_torchscript_gives_the_seven_maps(tmp_path, recwarn):
    network = trained_like("u2netp", 4)
    export_torchscript(network, INFO, tmp_path / "a.pt")
    assert not recwarn.list
    x = torch.randn(1, 3, 70, 101)
    with torch.inference_mode():
        for ours, theirs in zip(torch.jit.load(tmp_path / "a.pt")(x), network(x), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
