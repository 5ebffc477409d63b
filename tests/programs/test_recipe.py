"""scripts/train_included_weights.sh, the recipe of the included weights, cut to two iterations of each stage."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from networks.weights.checkpoint import load_network
from tests.helpers import ROOT, make_paper_dolls
from utils.files import write_csv

SHORT = ["--fine_width", "64", "--fine_height", "64", "--batchSize", "2", "--nThreads", "0", "--save_freq", "1"]


@pytest.fixture
def recipe(tiny_checkpoint, tmp_path):
    """The script run in a folder of its own, with tables of two drawn photographs: recipe(iterations)."""
    image_folder, df_path = make_paper_dolls(tmp_path, photos=2)
    for folder, parts in (("ccp", ("train", "val", "tagged")), ("products", ()), ("clothing-dataset", ("images",))):
        (tmp_path / folder).mkdir()
        for part in parts:
            (tmp_path / folder / part).symlink_to(image_folder)
    tags = [("ImageId", "Tags"), *((path.name, "shirt jeans") for path in image_folder.iterdir())]
    for name in ("ccp/tagged", "products/products_tags"):
        write_csv(tmp_path / f"{name}.csv", tags)
    products = [f"products/products{part}" for part in ("", "_full", "_others", "_val")]
    for name in ("ccp/train", "ccp/val", *products):
        (tmp_path / f"{name}.csv").symlink_to(df_path)
    shutil.copy(tiny_checkpoint, tmp_path / "u2netp.onnx")  # the file tells what it is, not its name
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def run(iterations: int) -> subprocess.CompletedProcess:
        script = ROOT / "scripts/train_included_weights.sh"
        return subprocess.run(
            ["bash", script, ".", *SHORT, "--iter", str(iterations)],
            cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    return run


def test_the_recipe_ends_in_weights_and_continues_where_it_was(recipe, tmp_path):
    first = recipe(1)
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("optimizer=adamw") == 5 and "sources: street (0.46" in first.stdout
    assert first.stdout.count("teacher=") == 2 and "wrote results/mean.pth: 0.60 x" in first.stdout
    assert "2 of 2 photographs" in first.stdout
    included = tmp_path / "cloth_segm_u2netp.pth"
    _, info = load_network(included)
    assert (info.width, info.height, info.iteration) == (288, 288, 1)
    included.unlink()
    second = recipe(2)
    assert second.returncode == 0, second.stderr
    assert "tensors copied" in first.stdout and "tensors copied" not in second.stdout  # not begun anew
    assert "2 of 2 photographs" not in second.stdout
    assert load_network(included)[1].iteration == 2


def test_without_data_it_ends_with_the_programs_one_line(recipe, tmp_path):
    shutil.rmtree(tmp_path / "ccp")
    result = recipe(1)
    assert result.returncode != 0
    assert result.stderr.strip().splitlines()[-1].startswith("error: ") and "git clone" in result.stderr
    assert not (tmp_path / "ccp").exists() and not (tmp_path / "cloth_segm_u2netp.pth").exists()
