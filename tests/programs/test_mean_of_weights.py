"""scripts/mean_of_weights.py: the mean of what several files hold, as a checkpoint like theirs."""

import pytest
import torch

from networks.u2net import build_network
from networks.weights.checkpoint import load_network, save_checkpoint
from networks.weights.info import CheckpointInfo
from scripts.mean_of_weights import MeanOptions, main
from utils.errors import UserError

CLOTHES = ("background", "upper", "lower", "full")


@pytest.fixture
def files(tmp_path) -> list[str]:
    """Two checkpoints of one small network."""
    paths = [tmp_path / name for name in ("a.pth", "b.pth")]
    for seed, path in enumerate(paths):
        torch.manual_seed(seed)
        info = CheckpointInfo(CLOTHES, 96, 64, iteration=seed + 5, metrics={"miou": 0.5})
        save_checkpoint(path, build_network("u2netp", 4), info)
    return list(map(str, paths))


def mean_of(files: list[str], output, **options) -> dict[str, torch.Tensor]:
    main(MeanOptions(weights=files, output=str(output), **options).resolve())
    return load_network(output)[0].state_dict()


@pytest.mark.parametrize(("shares", "first"), [(None, 0.5), ([3.0, 1.0], 0.75), ([0.0, 2.0], 0.0)])
def test_every_tensor_is_the_mean_by_the_shares(shares, first, files, tmp_path):
    a, b = (load_network(path)[0].state_dict() for path in files)
    mean = mean_of(files, tmp_path / "mean.pth", shares=shares)
    for key in mean:
        torch.testing.assert_close(mean[key].float(), first * a[key].float() + (1 - first) * b[key].float())
    info = load_network(tmp_path / "mean.pth")[1]
    assert (info.class_names, info.height, info.width, info.metrics) == (CLOTHES, 96, 64, None)


def test_mistakes_are_one_line_and_nothing_is_written_over(files, tmp_path):
    trained = build_network("u2netp", 4)
    trained.stage1.rebnconvin.bn_s1.running_mean += 1  # it has seen data, and the others have not
    for wrong, words in (({"shares": [1.0]}, "--shares needs 2 numbers"), ({"shares": [0.0, 0.0]}, "not all zero")):
        with pytest.raises(UserError, match=words):
            MeanOptions(weights=files, output=str(tmp_path / "c.pth"), **wrong).resolve()
    with pytest.raises(UserError, match="must end in .pth"):
        MeanOptions(weights=files, output="c.onnx").resolve()
    with pytest.raises(UserError, match="exists"):
        MeanOptions(weights=files, output=files[0]).resolve()
    save_checkpoint(tmp_path / "b.pth", build_network("u2netp", 3), CheckpointInfo(("background", "x", "y")))
    with pytest.raises(UserError, match="b.pth has class_names"):
        mean_of(files, tmp_path / "c.pth")
    save_checkpoint(tmp_path / "b.pth", trained, CheckpointInfo(CLOTHES))
    with pytest.raises(UserError, match="batch norm folded"):
        mean_of(files, tmp_path / "c.pth")
    save_checkpoint(tmp_path / "b.pth", build_network("u2net", 4), CheckpointInfo(CLOTHES))
    with pytest.raises(UserError, match="b.pth does not fit"):
        mean_of(files, tmp_path / "c.pth")
    assert not (tmp_path / "c.pth").exists()
