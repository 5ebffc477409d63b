"""export.py: small checkpoints that predict as the large ones do."""

import pytest
import torch

import export
from networks.checkpoint import CheckpointInfo, build_network, load_network, save_checkpoint
from tests.conftest import assert_one_line_error, run_script
from utils.errors import UserError


def run_main(monkeypatch, *arguments) -> None:
    monkeypatch.setattr("sys.argv", ["export.py", *map(str, arguments)])
    export.main()


def test_the_export_is_half_as_large_and_predicts_the_same(tiny_checkpoint, tmp_path, monkeypatch):
    small = tmp_path / "deep" / "small.pth"
    run_main(monkeypatch, "--checkpoint_path", tiny_checkpoint, "--output", small)
    assert small.stat().st_size < 0.6 * tiny_checkpoint.stat().st_size
    (before, told), (after, retold) = load_network(tiny_checkpoint), load_network(small)
    assert told == retold
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(after(image)[0], before(image)[0], atol=0.02, rtol=0.02)


def test_another_size_drops_the_figures_that_belong_to_the_old_one(tmp_path, monkeypatch):
    info = CheckpointInfo(("background", "upper", "lower", "full"), 64, 64, metrics={"miou": 0.5})
    network = build_network("u2netp", 4)
    network.stage1.rebnconvin.bn_s1.num_batches_tracked.fill_(100_000)  # a counter, and no half-precision number
    save_checkpoint(tmp_path / "a.pth", network, info)
    run_main(
        monkeypatch, "--checkpoint_path", tmp_path / "a.pth", "--output", tmp_path / "b.pth",
        "--fine_width", 96, "--fine_height", 64,
    )  # fmt: skip
    _, exported = load_network(tmp_path / "b.pth")
    assert (exported.height, exported.width, exported.metrics) == (64, 96, None)


def constant_network(path, value: float, architecture: str = "u2netp", **told):
    """A checkpoint whose every number is ``value``."""
    network = build_network(architecture, 4)
    with torch.no_grad():
        for tensor in (*network.parameters(), *(b for b in network.buffers() if b.is_floating_point())):
            tensor.fill_(value)
    save_checkpoint(path, network, CheckpointInfo(height=64, width=64, **told))
    return path


def test_checkpoints_are_averaged_in_equal_shares(tmp_path, monkeypatch):
    first, *others = (constant_network(tmp_path / f"{v}.pth", v, metrics={"miou": v}) for v in (0.25, 0.5, 1.5))
    run_main(
        monkeypatch, "--checkpoint_path", first, "--average_with", *others, "--output", tmp_path / "mean.pth"
    )  # fmt: skip
    network, info = load_network(tmp_path / "mean.pth")
    for key, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, torch.full_like(tensor, 0.75), msg=key)
    assert info.metrics is None  # nobody measured the mean
    assert load_network(first)[0].outconv.bias[0] == 0.25


@pytest.mark.parametrize(
    "other, reason",
    [
        ({"class_names": ("background", "a", "b", "c")}, "class_names"),
        ({"mean": 0.4}, "another mean"),
        ({"architecture": "u2net"}, "another network"),
    ],
)
def test_what_is_not_the_same_network_is_not_averaged(other, reason, tmp_path, monkeypatch):
    first, second = constant_network(tmp_path / "a.pth", 0.5), constant_network(tmp_path / "b.pth", 0.5, **other)
    with pytest.raises(UserError, match=reason):
        run_main(monkeypatch, "--checkpoint_path", first, "--average_with", second, "--output", tmp_path / "c.pth")
    assert not (tmp_path / "c.pth").exists()


def test_values_beyond_half_precision_are_refused_and_leave_nothing(tmp_path, monkeypatch):
    network = build_network("u2netp", 4)
    network.stage1.rebnconvin.bn_s1.running_var.fill_(1e6)
    save_checkpoint(tmp_path / "a.pth", network, CheckpointInfo())
    with pytest.raises(UserError, match="stage1.rebnconvin.bn_s1.running_var"):
        run_main(monkeypatch, "--checkpoint_path", tmp_path / "a.pth", "--output", tmp_path / "b.pth")
    assert not (tmp_path / "b.pth").exists()


def test_what_is_missing_or_there_already_is_one_line(tiny_checkpoint, tmp_path):
    assert_one_line_error(run_script("export.py", "--output", tmp_path / "b.pth"), "--checkpoint_path is missing")
    there = run_script("export.py", "--checkpoint_path", tiny_checkpoint, "--output", tiny_checkpoint)
    assert_one_line_error(there, "exists", "--output")
