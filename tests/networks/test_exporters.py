import pytest
import torch

from networks.checkpoint import load_network
from networks.checkpoint_info import CheckpointInfo
from networks.exporters import EXPORTERS, export_half, export_torchscript, load_exported
from options.export_options import SUFFIXES
from tests.helpers import trained_like
from utils.errors import UserError

INFO = CheckpointInfo(("background", "upper", "lower", "full"), 64, 96, iteration=7, metrics={"miou": 0.5})


def test_there_is_an_exporter_for_every_suffix_of_the_options():
    assert set(EXPORTERS) == set(SUFFIXES)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_export_computes_the_same_at_any_size(suffix, tmp_path):
    network, path = trained_like("u2netp", 4), tmp_path / f"a{suffix}"
    EXPORTERS[suffix](network, INFO, path)
    exported = load_exported(path)
    for size in ((64, 96), (33, 71), (128, 40)):
        x = torch.randn(2, 3, *size)
        with torch.inference_mode():
            expected = network.fused(x)
            torch.testing.assert_close(exported.fused(x), expected, atol=0.02 * float(expected.abs().max()), rtol=0)


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
