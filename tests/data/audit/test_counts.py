"""Rows, categories, classes and overlaps are counted."""

import json

import numpy as np

from data.audit.counts import RowCounts, count_classes, covered
from data.classes import CLOTHES
from data.labels.read import read_labels
from data.labels.rle import encode_rle
from tests.helpers import append_rows, scene, write_scenes
from utils.label_values import SOME_CLOTHES, UNKNOWN


def test_rows_and_photos_are_counted_by_category_and_rows_without_clothes_are_no_faults(tmp_path):
    image_folder, df_path = write_scenes(tmp_path, {"0.png": scene(0, 30, 20), "1.png": scene(1, 30, 20)})
    scene(2, 30, 20).save(image_folder / "bare.png")
    again = df_path.read_text().splitlines()[1].split(",")
    again[0] = "0"  # another spelling of 0.png
    append_rows(df_path, again, ("bare.png", "", "", "", ""), ("gone.png", "1 2", 30, 20, 0))
    rows = RowCounts()
    table = read_labels(str(df_path), str(image_folder), CLOTHES, on_row=rows.add)
    assert (rows.rows, rows.of_category, rows.photos_of_category) == (5, {0: 3}, {0: set(table.files[:2])})
    assert table.skipped.count == {"missing photo": 1}
    assert [path.name for path, exists in rows.photos.items() if not exists] == ["gone.png"]
    assert count_classes(table, 4).without_clothes == 1


def test_an_annotation_without_an_image_is_no_photo(tmp_path):
    scene(0, 30, 20).save(tmp_path / "0.png")
    annotations = [{"image_id": n, "category_id": 1, "segmentation": [[0, 0, 9, 0, 9, 9]]} for n in (1, 2)]
    categories = [{"id": 1, "name": "shirt, blouse"}]
    content = {"images": [{"id": 1, "file_name": "0.png"}], "annotations": annotations, "categories": categories}
    (tmp_path / "coco.json").write_text(json.dumps(content))
    rows = RowCounts()
    read_labels(str(tmp_path / "coco.json"), str(tmp_path), CLOTHES, on_row=rows.add)
    assert (rows.rows, rows.photos) == (2, {tmp_path / "0.png": True})


def test_overlaps_between_classes_are_counted_in_pixels_and_photos(tmp_path):
    image_folder, df_path = write_scenes(tmp_path, {f"{i}.png": scene(i, 30, 20) for i in range(2)})
    trousers = np.zeros((30, 20), bool)
    trousers[13:25, 4:10] = True  # 2 of its 12 rows lie under the shirt, which is 15 rows high
    append_rows(df_path, ("1.png", encode_rle(trousers), 30, 20, 6), ("1.png", encode_rle(trousers), 30, 20, 7))
    table = read_labels(str(df_path), str(image_folder), CLOTHES)
    counts = count_classes(table, 4)
    assert counts.overlap_pixels == {(1, 2): 2 * 6}
    assert counts.overlap_photos == {(1, 2): 1}
    assert counts.covered == {1: 2 * 15 * 20, 2: 12 * 6}  # trousers drawn twice cover no more
    assert counts.photos == {1: 2, 2: 1}
    assert (counts.pixels, counts.without_clothes) == (2 * 30 * 20, 0)
    table.class_of_row[:] = UNKNOWN  # which is no class
    counts = count_classes(table, 4)
    assert (counts.covered, counts.photos, counts.overlap_pixels) == ({}, {}, {})
    assert counts.without_clothes == 2
    table.runs[:, 0], table.runs[:, 1] = 0, 30 * 20  # of photos that are unknown all over nobody knows that either
    assert count_classes(table, 4).without_clothes == 0
    table.class_of_row[:] = SOME_CLOTHES
    assert count_classes(table, 4).without_clothes == 0


def test_pixels_under_several_runs_count_once():
    runs = np.array([[50, 60], [0, 10], [5, 20], [6, 8], [9, 12], [20, 25], [50, 60]])
    assert covered(runs) == 35
    assert covered(runs[:0]) == 0
