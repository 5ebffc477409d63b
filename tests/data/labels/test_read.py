"""Labels of every documented format are read alike, and docs/data.md shows what can be read."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.classes import load_class_table
from data.labels.categories import Categories
from tests.data.labels.drawn import HEIGHT, WIDTH, mask_of, read, save_photo, write_csv
from tests.data.labels.test_coco import coco
from tests.data.labels.test_coco_masks import counts_of
from tests.helpers import ROOT, SMALL, DataSet, encode_rle, flags_of, run_here, training_flags


def example(heading: str) -> str:
    """The first code block below a heading of docs/data.md."""
    section = (ROOT / "docs/data.md").read_text().split(f"## {heading}")[1]
    return re.search(r"```\w*\n(.*?)```", section, re.DOTALL)[1]


@pytest.fixture
def photos(tmp_path) -> Path:
    (tmp_path / "photos").mkdir()
    for name in ("look1.jpg", "look2.jpg"):
        Image.new("RGB", (8, 10)).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


@pytest.mark.parametrize(("heading", "file", "box", "second"), [
    ("Table (CSV)", "labels.csv", (5, 0, 8, 2), "look2.jpg"), ("COCO (JSON)", "labels.JSON", (2, 1, 7, 5), None),
])  # fmt: skip
def test_the_documented_files_are_read(heading, file, box, second, photos, tmp_path):
    (tmp_path / file).write_text(example(heading))
    table = read(tmp_path / file, photos)
    assert [path.name for path in table.files] == ["look1.jpg", second][: len(table)]
    assert (table.skipped.count, len(table)) == ({}, 1 + bool(second))
    assert np.array_equal(table.label_map(0), mask_of(*box, (10, 8)))
    assert not second or not table.label_map(1).any()


def test_the_documented_class_map_is_read(tmp_path):
    (tmp_path / "map.yml").write_text(example("Classes"))
    table = load_class_table(str(tmp_path / "map.yml"))
    assert table.names == ("background", "shoes", "bags", "tops")
    categories = Categories.by_imaterialist(table).table
    assert [categories[number][1] for number in (23, 24, 0, 2, 10)] == [1, 2, 3, 3, 0]


@pytest.fixture(scope="module")
def forms(tmp_path_factory) -> tuple[Path, list[dict]]:
    """Photos, the last without clothes, and options for their labels: table, COCO, label maps, and LIP's label maps."""
    folder = tmp_path_factory.mktemp("forms")
    rows, images, annotations = [], [], []
    for i in range(4):
        mask = mask_of(4 + i, 5, 20 + i, 25) if i < 3 else mask_of(0, 0, 0, 0)
        save_photo(folder / f"photos/{i}.jpg", mask)
        for name, label in (("maps", mask * 1), ("lip", np.where(mask, 5, 13))):  # upper-clothes on a face
            (folder / name).mkdir(exist_ok=True)
            Image.fromarray(label.astype(np.uint8)).save(folder / name / f"{i}.jpg.png")
        rows.append([f"{i}.jpg", encode_rle(mask), HEIGHT, WIDTH, 0])
        images.append({"id": i, "file_name": f"{i}.jpg", "height": HEIGHT, "width": WIDTH})
        if mask.any():
            rle = {"size": [HEIGHT, WIDTH], "counts": counts_of(mask)}
            annotations.append({"image_id": i, "segmentation": rle})
    (folder / "labels.json").write_text(json.dumps(coco(*annotations, images=images)))
    files = [write_csv(folder, *rows), folder / "labels.json", folder / "maps", folder / "lip"]
    maps = [None, None, None, ROOT / "recipes/class_maps/lip.yml"]
    return folder / "photos", [{"df_path": f, "class_map": m} for f, m in zip(files, maps, strict=True)]


def test_evaluate_and_audit_say_the_same_of_all_forms(forms, tiny_checkpoint, tmp_path):
    photos, forms = forms
    figures, classes = [], []
    for form in forms:
        options = {"image_folder": photos, **form}
        also = {"checkpoint_path": tiny_checkpoint, "device": "cpu", "json": tmp_path / "figures.json"}
        result = run_here("evaluate.py", *flags_of(options | also))
        assert result.returncode == 0, result.stderr
        figures.append(json.loads((tmp_path / "figures.json").read_text()))
        alarms = f"false alarms: {100 * figures[-1]['false_alarm']:.2f} % of the pixels of the 1 photo"
        assert alarms in result.stdout
        result = run_here("-m", "data.audit", *flags_of(options | {"report_dir": tmp_path / "report"}))
        assert result.returncode == 0, result.stderr
        classes.append(result.stdout[result.stdout.index("masks  ") : result.stdout.index("duplicate")])
    assert all(other == figures[0] for other in figures)
    assert all(other == classes[0] for other in classes)


def test_training_gives_the_same_weights_from_all_forms(forms, tmp_path):
    photos, forms = forms
    weights = []
    for i, form in enumerate(forms):
        flags = training_flags(DataSet(photos, form["df_path"]), tmp_path / str(i), iter=1, val_df_path=form["df_path"],
                               val_image_folder=photos, class_map=form["class_map"], **SMALL)  # fmt: skip
        result = run_here("train.py", *flags)
        assert result.returncode == 0, result.stderr
        weights.append(torch.load(tmp_path / str(i) / "latest.pth", weights_only=False)["network"])
    assert all(torch.equal(weights[0][key], other[key]) for other in weights[1:] for key in weights[0])
