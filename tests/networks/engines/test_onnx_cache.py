"""Weight files as the engines run them: made once for each content, whatever files it is spread over."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
import torch

from networks.engines.onnx_cache import CachedWeights
from networks.exporters import EXPORTERS, open_exported
from networks.onnx_graph import Fused, onnx_model
from networks.weights.info import CheckpointInfo
from tests.helpers import trained_like
from utils import cache_folder

INFO = CheckpointInfo(("background", "upper", "lower", "full"), height=64, width=64)
NETWORKS = {"a": trained_like("u2netp", 4, 0), "b": trained_like("u2netp", 4, 1)}


def test_weights_beside_an_onnx_graph_are_part_of_what_is_converted(tmp_path):
    converted = []
    for name, network in NETWORKS.items():
        path = tmp_path / name / "model.onnx"
        (path.parent / "model").mkdir(parents=True)  # a folder whose name the graph contains
        EXPORTERS[".onnx"](network, INFO, path)
        onnx.save(onnx.load(path), path, save_as_external_data=True, location="model.onnx.data", size_threshold=0)
        converted.append(CachedWeights(path).model())
    assert (tmp_path / "a/model.onnx").read_bytes() == (tmp_path / "b/model.onnx").read_bytes()
    assert converted[0] != converted[1]


def test_the_weights_of_an_openvino_file_are_part_of_what_is_compiled(tmp_path):
    pytest.importorskip("openvino")
    images = np.random.default_rng(0).standard_normal((1, 3, 64, 64), np.float32)
    for name, network in NETWORKS.items():
        EXPORTERS[".xml"](network, INFO, tmp_path / f"{name}.xml")
    for name, network in NETWORKS.items():
        (tmp_path / "a.bin").write_bytes((tmp_path / f"{name}.bin").read_bytes())
        with torch.no_grad():
            wanted = network.fused(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(open_exported(tmp_path / "a.xml", INFO)(images), wanted, atol=1e-3)


def test_a_graph_is_the_same_in_threads_at_once_and_under_autocast():
    def convert(name: str) -> bytes:
        with torch.autocast("cpu", torch.bfloat16):
            return onnx_model(Fused(NETWORKS[name]), INFO)

    with ThreadPoolExecutor(2) as pool:
        converted = list(pool.map(convert, NETWORKS))
    assert converted == [onnx_model(Fused(network), INFO) for network in NETWORKS.values()]


def test_a_file_is_hashed_once_in_a_process_and_again_when_it_changes(tiny_checkpoint, tmp_path, monkeypatch):
    hashed = []
    monkeypatch.setattr(cache_folder.hashlib, "new", lambda method: hashed.append(method) or hashlib.sha256())
    path = tmp_path / "w.pth"
    path.write_bytes(tiny_checkpoint.read_bytes())
    first = {CachedWeights(path).key for _ in range(3)}
    assert len(first) == len(hashed) == 1
    path.write_bytes(tiny_checkpoint.read_bytes() + b"0")
    assert CachedWeights(path).key not in first and len(hashed) == 2
