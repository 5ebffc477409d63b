import numpy as np
import pytest
import torch

from networks.engines.settings import EngineSettings
from networks.engines.torch_engine import TorchEngine, load_torch_engine
from networks.predictor import Predictor
from tests.helpers import trained_like
from utils.errors import UserError


def test_the_engine_gives_the_fused_logits_of_the_network_in_float32_and_bf16_nearly_the_same():
    images = np.random.default_rng(0).standard_normal((2, 3, 40, 70), np.float32)
    network = trained_like("u2netp", 4)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images))[0].numpy()
    full, half = (TorchEngine(network.train(), torch.device("cpu"), each)(images) for each in ("fp32", "bf16"))
    assert full.dtype == half.dtype == np.float32
    np.testing.assert_allclose(full, expected, atol=1e-4 * np.abs(expected).max())
    assert 0 < np.abs(half - full).max() < 0.1 * np.abs(full).max()


def test_its_name_says_device_and_precision(tiny_checkpoint):
    name = Predictor.load(tiny_checkpoint, "cpu", "bf16", engine="torch").name
    assert name.startswith("cpu (") and name.endswith(", bf16, PyTorch")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_there_is_refused_before_the_weights_are_read(tmp_path):
    with pytest.raises(UserError, match="no CUDA"):
        load_torch_engine(tmp_path / "none.pth", EngineSettings(device="cuda"))
