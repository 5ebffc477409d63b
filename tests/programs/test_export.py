"""export.py: small checkpoints that predict as the large ones do."""

import pytest
import torch

import export
from networks.checkpoint import CheckpointInfo, build_network, load_network, save_checkpoint
from tests.helpers import assert_one_line_error, run_script
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
