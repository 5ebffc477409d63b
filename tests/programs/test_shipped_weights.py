"""The included weights are what README and model card say of them."""

import json
import re

import pytest

import evaluate
from networks.weights.checkpoint import read_info
from networks.weights.info import INCLUDED_WEIGHTS
from options.evaluate_options import EvaluateOptions
from tests.helpers import ROOT, flags_of

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.fixture(scope="module")
def figures(ccp_val, tmp_path_factory) -> list[float]:
    """IoU of the four classes, their mean, the mean of the clothes, clothes against rest."""
    path = tmp_path_factory.mktemp("figures") / "figures.json"
    options = {"image_folder": ccp_val.image_folder, "df_path": ccp_val.df_path, "json": path}
    evaluate.main(EvaluateOptions.parse(flags_of(options | {"precision": "fp32", "device": "cpu"})))
    content = json.loads(path.read_text())
    assert content["images"] == 110
    return [*content["iou"].values(), content["miou"], content["miou_clothes"], content["clothes_iou"]]


def rows(name: str) -> list[str]:
    """What stands behind the name in every table row of the pages that begins with it."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    return re.findall(rf"^\| {name} \|(.*)\|$", text, re.M)


def test_the_figures_told_are_those_of_the_file(figures):
    (told,) = [row for row in rows("IoU") if row.count("|") == 6]
    assert [float(cell.strip(" *")) for cell in told.split("|")] == pytest.approx(figures, abs=0.001)
    pairs = [row.split("|")[-1] for row in rows("street: 110 validation photos of Clothing Co-Parsing")]
    assert len(pairs) == 2, "README and model card give the two figures"
    for pair in pairs:
        assert [float(figure) for figure in pair.split("/")] == pytest.approx(figures[-2:], abs=0.001)


def test_the_size_told_is_that_of_the_file():
    info = read_info(INCLUDED_WEIGHTS)
    (told,) = rows("Input")
    assert told.startswith(f" {info.width}x{info.height}")
