"""The weights that come along are what README and model card say of them."""

import json
import re

import pytest

from networks.checkpoint import load_network
from options.base_options import SHIPPED_CHECKPOINT
from tests.helpers import ROOT, run_script


@pytest.fixture(scope="module")
def figures(ccp_val, tmp_path_factory) -> list[float]:
    """IoU of the four classes, their mean, the mean of the clothes, clothes against rest."""
    path = tmp_path_factory.mktemp("figures") / "figures.json"
    result = run_script(
        "evaluate.py", "--image_folder", ccp_val.image_folder, "--df_path", ccp_val.df_path, "--json", path,
        "--precision", "fp32", "--device", "cpu", timeout=550,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    content = json.loads(path.read_text())
    assert content["images"] == 110
    return [*content["iou"].values(), content["miou"], content["miou_clothes"], content["clothes_iou"]]


@pytest.mark.parametrize("page", ["README.md", "MODEL_CARD.md"])
def test_the_figures_told_are_those_of_the_file(page, figures):
    (told,) = re.findall(r"^\| IoU \|(.*)\|$", (ROOT / page).read_text(), re.M)
    assert [float(cell.strip(" *")) for cell in told.split("|")] == pytest.approx(figures, abs=0.001)


def test_the_file_is_small_and_describes_itself():
    path = ROOT / SHIPPED_CHECKPOINT
    assert path.stat().st_size < 5e6
    _, info = load_network(path)
    assert info.class_names == ("background", "upper", "lower", "full")
    size = re.search(r"^\| Sees \| (\d+)x(\d+)", (ROOT / "MODEL_CARD.md").read_text(), re.M)
    assert (info.width, info.height) == tuple(map(int, size.groups()))
