"""scripts/train_included_weights.sh, the recipe of the included weights, cut to two iterations."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from networks.weights.checkpoint import load_network
from tests.helpers import ROOT, make_paper_dolls
from utils.files import write_csv

SHORT = ["--fine_width", "64", "--fine_height", "64", "--batchSize", "2", "--nThreads", "0", "--save_freq", "1"]
PHOTOS = ("ccp/train", "ccp/val", "ccp/tagged", "clothing-dataset/images", "images/congress/450x550", "rendered/photos")
TABLES = (
    "ccp/train", "ccp/val", "products/products", "products/products_full", "products/products_others",
    "products/products_val", "portraits/portraits", "portraits/portraits_val",
)  # fmt: skip


@pytest.fixture
def recipe(tiny_checkpoint, tmp_path):
    """The script run in a folder of its own, with tables of two drawn photographs: recipe(iterations)."""
    image_folder, df_path = make_paper_dolls(tmp_path, photos=2)
    for folder in {Path(name).parent for name in (*PHOTOS, *TABLES)}:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for name in PHOTOS:
        (tmp_path / name).symlink_to(image_folder)
    for name in TABLES:
        (tmp_path / f"{name}.csv").symlink_to(df_path)
    (tmp_path / "rendered/labels").mkdir()
    for path in image_folder.iterdir():
        with Image.open(path) as photo:
            Image.new("L", photo.size, 1).save(tmp_path / f"rendered/labels/{path.stem}.png")
    tags = [("ImageId", "Tags"), *((path.name, "shirt jeans") for path in image_folder.iterdir())]
    for name in ("ccp/tagged", "products/products_tags"):
        write_csv(tmp_path / f"{name}.csv", tags)
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
    assert "sources: street (22 %" in first.stdout and "2 of 2 photographs" in first.stdout
    assert "160 drawn patterns" in first.stdout and "160 photographs without clothes" in first.stdout
    included = tmp_path / "cloth_segm_u2netp.pth"
    _, info = load_network(included)
    assert (info.width, info.height, info.iteration) == (288, 288, 1)
    included.unlink()
    second = recipe(2)
    assert second.returncode == 0, second.stderr
    assert "tensors copied" in first.stdout and "tensors copied" not in second.stdout  # it went on
    assert "2 of 2 photographs" not in second.stdout and "drawn patterns" not in second.stdout
    assert load_network(included)[1].iteration == 2


def test_without_rendered_people_it_ends_with_one_line(recipe, tmp_path):
    shutil.rmtree(tmp_path / "rendered")
    result = recipe(1)
    assert result.returncode == 1 and result.stderr.startswith("error: there is no") and "render" in result.stderr
