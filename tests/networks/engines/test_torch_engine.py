import numpy as np
import pytest
import torch

from networks.engines.settings import EngineSettings
from networks.engines.torch_engine import TorchEngine, load_torch_engine
from tests.helpers import trained_like
from utils.errors import UserError


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, 3, 40, 70)).astype(np.float32)


def test_the_engine_computes_the_fused_logits_of_the_network(images):
    network = trained_like("u2netp", 4)
    with torch.inference_mode():
        expected = network.eval()(torch.from_numpy(images))[0].numpy()
    logits = TorchEngine(network.train(), torch.device("cpu"))(images)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())


def test_bf16_is_nearly_the_same_and_answers_in_float32(images):
    network = trained_like("u2netp", 4)
    full, half = (TorchEngine(network, torch.device("cpu"), precision)(images) for precision in ("fp32", "bf16"))
    assert half.dtype == np.float32
    assert 0 < np.abs(half - full).max() < 0.1 * np.abs(full).max()


def test_its_name_says_device_and_precision(tiny_checkpoint):
    engine, info = load_torch_engine(tiny_checkpoint, EngineSettings("torch", "cpu", "bf16"))
    assert engine.name.startswith("cpu (") and engine.name.endswith(", bf16, PyTorch")
    assert (info.height, info.width) == (64, 64)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_there_is_refused_before_the_weights_are_read(tmp_path):
    with pytest.raises(UserError, match="no CUDA"):
        load_torch_engine(tmp_path / "none.pth", EngineSettings(device="cuda"))
