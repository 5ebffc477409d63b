"""The published command for TorchScript."""

import torch

from networks.weights.checkpoint import load_network
from tests.helpers import encoded_photo, run_script


def test_the_published_command_writes_the_networks_logits(tiny_checkpoint, tmp_path):
    target = tmp_path / "torchscript.pt"
    (tmp_path / "photo.png").write_bytes(encoded_photo())
    result = run_script(
        "deploy/convert_to_torchscript.py", "--checkpoint_path", tiny_checkpoint, "--output", target,
        "--photos", tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    traced = torch.jit.load(target)
    network, _ = load_network(tiny_checkpoint)
    for size in ((64, 64), (97, 131)):
        image = torch.randn(1, 3, *size)
        with torch.inference_mode():
            torch.testing.assert_close(traced(image)[0], network(image)[0])
