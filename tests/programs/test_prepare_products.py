"""Tests of scripts/prepare_products.py: on the real photographs, and of its rules on drawn maps."""

import shutil

import numpy as np
import pandas as pd
import pytest

from data.classes import CLOTHES
from data.labels.read import read_labels
from utils.label_values import SOME_CLOTHES, UNKNOWN

from scripts.prepare_products import (  # isort: skip
    PrepareProductsOptions, doubt, find_garment, for_validation, main, rows_of,
)  # fmt: skip
from scripts.unlabelled import named_photos
from tests.helpers import shared
from utils.errors import UserError


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What a clone would hold of the shared photographs: two of each of six labels, and two that are not known.

    One T-shirt is among those that are kept for validation.
    """
    folder = tmp_path_factory.mktemp("products")
    (folder / "images").symlink_to(shared("data/products/train"))
    table = pd.read_csv(shared("data/products/train.csv"))
    labels = {"T-Shirt": 4, "Pants": 0, "Dress": 0, "Body": 0, "Outwear": 0, "Shoes": 0}
    rows = pd.concat(table[table.Label == label][first : first + 2] for label, first in labels.items())
    images = [*rows.ImageId.str.removesuffix(".jpg"), "skipped", "gone"]
    pd.DataFrame({"image": images, "label": [*rows.Label, "Not sure", "Shirt"]}).to_csv(folder / "images.csv")
    return folder


def options(clone, output, saliency, **more) -> PrepareProductsOptions:
    return PrepareProductsOptions(
        products=str(clone), output_dir=str(output), saliency=str(saliency), size=160, device="cpu", precision="fp32",
        **more,
    )  # fmt: skip


def test_real_photographs_give_tables_that_training_reads(clone, saliency_onnx, tmp_path, capsys):
    assert main(options(clone, tmp_path / "out", saliency_onnx)) == 1
    said = capsys.readouterr()
    assert "13 photographs with a label that is known here" in said.out
    assert "1 cannot be read" in said.out and "no such file" in said.err
    folder = str(clone / "images")
    tables = [f"out/products{end}.csv" for end in ("", "_full", "_others", "_val")]
    products, full, others, kept = (read_labels(str(tmp_path / table), folder, CLOTHES) for table in tables)
    assert not products.skipped.count and not full.skipped.count
    assert len(products) + len(full) + len(others) + len(kept) >= 10  # at most two are doubtful
    assert len(kept) == 1 and [for_validation(path.name) for path in (*kept.files, *full.files)].count(True) == 1
    images = pd.read_csv(clone / "images.csv")
    label_of = dict(zip(images.image + ".jpg", images.label, strict=True))
    expected = {"T-Shirt": 1, "Pants": 2, "Dress": 3, "Body": 3, "Outwear": SOME_CLOTHES}
    for table in (products, full, others):
        for photo in range(len(table)):
            found = table.label_map(photo)
            label = label_of[table.files[photo].name]
            assert (label in ("Dress", "Body")) == (table is full)
            assert (label == "Shoes") == (table is others)
            assert set(np.unique(found)) <= {0, UNKNOWN, expected.get(label, 0)}
            if label in expected:
                assert 0.05 < (found == expected[label]).mean() < 0.9
    tags = (tmp_path / "out/products_tags.csv").read_text().splitlines()
    assert tags[0] == "ImageId,Tags" and all(line.endswith(".jpg,Outwear") for line in tags[1:])


def test_photographs_kept_for_validation_are_left_out(clone, saliency_onnx, tmp_path):
    first, second = (pd.read_csv(clone / "images.csv").image[:2] + ".jpg").tolist()
    (tmp_path / "val.csv").write_text(f"ImageId,ClassId\n{first},1\n")
    given = options(clone, tmp_path / "out", saliency_onnx, leave_out=str(tmp_path / "val.csv"), max_dataset_size=1)
    main(given)
    text = (tmp_path / "out/products.csv").read_text()
    assert second in text and first not in text
    (tmp_path / "val.csv").write_text("ImageId\nother.jpg\n")
    with pytest.raises(UserError, match="--leave_out .* names none of the photographs"):
        main(given)
    assert named_photos("--x", str(tmp_path / "val.csv"), ["a/other.jpg", "b.jpg"]) == {"a/other.jpg"}


def test_what_cannot_be_used_is_one_line_and_leaves_nothing(clone, saliency_onnx, tiny_checkpoint, tmp_path):
    without_photos = tmp_path / "without_photos"
    (without_photos / "images").mkdir(parents=True)
    shutil.copy(clone / "images.csv", without_photos)
    for folder, output, saliency, words in (
        (tmp_path, tmp_path / "out", saliency_onnx, "run git clone"),
        (without_photos, tmp_path / "out", saliency_onnx, "no photograph of .* can be used: 13 cannot be read"),
        (clone, tmp_path / "out", tiny_checkpoint, "is not a saliency network"),
    ):
        with pytest.raises(UserError, match=words):
            main(options(folder, output, saliency))
    assert [path.name for path in tmp_path.iterdir()] == ["without_photos"]


def saliency_map() -> np.ndarray:
    probability = np.zeros((100, 100), np.float32)
    probability[20:80, 30:70] = 1
    return probability


def test_small_parts_are_dropped_small_holes_filled_and_the_second_leg_is_kept():
    legs = np.zeros((100, 100), np.float32)
    legs[20:80, 20:40] = legs[20:70, 60:80] = 1
    assert find_garment(legs)[0][40, 70]
    probability = saliency_map()
    probability[5:8, 5:8] = 1  # a speck
    probability[40:44, 40:44] = 0  # a hole
    probability[50:70, 50:65] = 0  # what is seen between two sleeves
    mask, unsure = find_garment(probability)
    assert not mask[5:8, 5:8].any() and unsure[5:8, 5:8].all()
    assert mask[40:44, 40:44].all() and not unsure[40:44, 40:44].any()
    assert not mask[50:70, 50:65].any()


def test_doubtful_masks_are_left_out():
    sure = saliency_map()
    assert doubt(find_garment(sure)[0], sure) is None
    assert doubt(np.zeros((100, 100), bool), sure) == "area"
    unsure = np.where(sure > 0, np.float32(0.6), sure)
    assert doubt(find_garment(unsure)[0], unsure) == "uncertain"


def test_around_what_is_background_nothing_is_unknown():
    mask, unsure = saliency_map() > 0, np.zeros((100, 100), bool)
    unsure[20] = mask[20]
    for label, categories in (("Dress", ["10", "unknown"]), ("Shoes", ["23"])):
        assert [row[4] for row in rows_of("a.jpg", label, mask, unsure)] == categories
