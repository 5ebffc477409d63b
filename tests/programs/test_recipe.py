"""scripts/train_included_weights.sh, the recipe of the included weights, cut to two iterations."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from networks.checkpoint import load_network
from tests.helpers import ROOT, make_paper_dolls

SHORT = ["--fine_width", "64", "--fine_height", "64", "--batchSize", "2", "--nThreads", "0", "--save_freq", "1"]


@pytest.fixture
def recipe(tiny_checkpoint, tmp_path):
    """The script run in a folder of its own, on two drawn photographs: recipe(iterations)."""
    image_folder, df_path = make_paper_dolls(tmp_path, photos=2)
    for part in ("train", "val"):
        (tmp_path / part).symlink_to(image_folder)
        (tmp_path / f"{part}.csv").symlink_to(df_path)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def run(iterations: int) -> subprocess.CompletedProcess:
        script = ROOT / "scripts/train_included_weights.sh"
        return subprocess.run(
            ["bash", script, tmp_path, tiny_checkpoint, *SHORT, "--iter", str(iterations)],
            cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    return run


def test_the_recipe_ends_in_weights_and_continues_where_it_was(recipe, tmp_path):
    first = recipe(1)
    assert first.returncode == 0, first.stderr
    assert "optimizer=adamw" in first.stdout and "iou_weight=1.0" in first.stdout  # the recipe's options
    _, info = load_network(tmp_path / "cloth_segm_u2netp.pth")
    assert (info.width, info.height, info.iteration) == (288, 288, 1)

    (tmp_path / "cloth_segm_u2netp.pth").unlink()
    second = recipe(2)
    assert second.returncode == 0, second.stderr
    assert "tensors copied" in first.stdout and "tensors copied" not in second.stdout  # not begun anew
    assert load_network(tmp_path / "cloth_segm_u2netp.pth")[1].iteration == 2


def test_without_data_it_ends_with_the_programs_one_line(recipe, tmp_path):
    (tmp_path / "train.csv").unlink()
    result = recipe(1)
    assert result.returncode != 0
    assert result.stderr.strip().splitlines()[-1].startswith("error: no label table at")
    assert not (tmp_path / "cloth_segm_u2netp.pth").exists()
