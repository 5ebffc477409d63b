"""Weight files as the engines run them: made once for each content, whatever files it is spread over."""

import numpy as np
import onnx
import pytest
import torch

from networks.engines.onnx_cache import converted_onnx, read_info
from networks.exporters import EXPORTERS, open_exported
from networks.weights.checkpoint import load_network
from networks.weights.info import CheckpointInfo
from tests.helpers import trained_like
from utils.errors import UserError

INFO = CheckpointInfo(("background", "upper", "lower", "full"), height=64, width=64)


def two_networks() -> list[torch.nn.Module]:
    return [trained_like("u2netp", 4, seed) for seed in (0, 1)]


def test_weights_beside_an_onnx_graph_are_part_of_what_is_converted(tmp_path):
    converted = []
    for name, network in zip("ab", two_networks(), strict=True):
        path = tmp_path / name / "model.onnx"
        (path.parent / "model").mkdir(parents=True)  # a folder whose name the graph contains
        EXPORTERS[".onnx"](network, INFO, path)
        onnx.save(onnx.load(path), path, save_as_external_data=True, location="model.onnx.data", size_threshold=0)
        converted.append(converted_onnx(path))
    assert (tmp_path / "a/model.onnx").read_bytes() == (tmp_path / "b/model.onnx").read_bytes()
    assert converted[0] != converted[1]


def test_the_weights_of_an_openvino_file_are_part_of_what_is_compiled(tmp_path):
    pytest.importorskip("openvino")
    images = np.random.default_rng(0).standard_normal((1, 3, 64, 64), np.float32)
    networks = two_networks()
    for name, network in zip("ab", networks, strict=True):
        EXPORTERS[".xml"](network, INFO, tmp_path / f"{name}.xml")
    for name, network in zip("ab", networks, strict=True):
        (tmp_path / "a.bin").write_bytes((tmp_path / f"{name}.bin").read_bytes())
        with torch.no_grad():
            wanted = network.fused(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(open_exported(tmp_path / "a.xml", INFO)(images), wanted, atol=1e-3)


@pytest.mark.parametrize("content", [b"", b"location", None])
def test_what_cannot_be_converted_is_one_line(content, tmp_path):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="model.onnx"):
        read_info(path)
    with pytest.raises(UserError, match="model.onnx"):
        load_network(path)
