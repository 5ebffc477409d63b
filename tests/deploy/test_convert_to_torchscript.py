"""The published command for TorchScript."""

import torch

from networks.weights.checkpoint import load_network
from tests.helpers import encoded_photo, run_script


def test_the_published_command_writes_the_networks_logits(tiny_checkpoint, tmp_path):
    (tmp_path / "photo.png").write_bytes(encoded_photo())
    result = run_script(
        "deploy/convert_to_torchscript.py", "--checkpoint_path", tiny_checkpoint, "--output", tmp_path / "a.pt",
        "--photos", tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    image = torch.randn(1, 3, 97, 131)
    with torch.inference_mode():
        expected = load_network(tiny_checkpoint)[0](image)[0]
        torch.testing.assert_close(torch.jit.load(tmp_path / "a.pt")(image), expected)
