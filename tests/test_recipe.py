"""scripts/train_ccp.sh, the recipe of the weights that come along, cut to two iterations a stage."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from networks.checkpoint import load_network
from tests.conftest import ROOT

SHORT = "--iter 2 --fine_width 64 --fine_height 64 --batchSize 2 --nThreads 0 --val_freq 2 --save_freq 1".split()


@pytest.fixture
def recipe(dolls, tiny_checkpoint, tmp_path):
    """The script run in a folder of its own, on drawn photographs."""
    for part in ("train", "val"):
        (tmp_path / part).symlink_to(dolls.image_folder)
        (tmp_path / f"{part}.csv").symlink_to(dolls.df_path)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def run() -> subprocess.CompletedProcess:
        return subprocess.run(
            ["bash", ROOT / "scripts/train_ccp.sh", tmp_path, tiny_checkpoint, *SHORT],
            cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    return run


def test_two_stages_end_in_weights_and_a_finished_stage_is_not_run_again(recipe, tmp_path):
    first = recipe()
    assert first.returncode == 0, first.stderr
    _, info = load_network(tmp_path / "cloth_segm_u2netp.pth")
    assert (info.width, info.height, info.iteration) == (288, 288, 2)
    assert "ccp_whole/checkpoints/itr_00000002_u2netp.pth: 798 tensors copied" in first.stdout

    (tmp_path / "cloth_segm_u2netp.pth").unlink()
    shutil.rmtree(tmp_path / "results/ccp_close")  # as if stopped between the stages
    second = recipe()
    assert second.returncode == 0, second.stderr
    assert "ccp_whole is at iteration 2 of 2 already" in second.stdout
    assert (tmp_path / "cloth_segm_u2netp.pth").exists()
