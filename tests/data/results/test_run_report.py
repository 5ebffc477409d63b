"""report.csv and coco.json replace only files of their own kind, and say what went wrong."""

import csv
import json

import pytest

from data.results.run_report import COCO, REPORT, refuse_foreign, write_coco, write_report
from utils.errors import UserError

NAMES = ("background", "upper", "lower")


def entry(area: int, confidence: float | None) -> dict:
    box = [1, 2, 4, 6] if area else None
    ring = [[1, 2, 4, 2, 4, 6, 1, 6]] if area else []
    known = {"present": area > 0, "area": area, "share": area / 200, "box": box}
    return known | {"confidence": confidence, "rle": "", "polygons": ring}


@pytest.fixture
def results(tmp_path):
    contents = {
        "sub/a.jpg": {"upper": entry(12, 0.9), "lower": entry(4, 0.5)},
        "b.jpg": {"upper": entry(0, None), "lower": entry(0, None)},
    }
    results = {"broken.jpg": None}
    for number, (name, classes) in enumerate(contents.items()):
        results[name] = tmp_path / f"{number}.json"
        warning = None if number == 0 else "empty"
        results[name].write_text(json.dumps({"height": 10, "width": 20, "warning": warning, "classes": classes}))
    return results


def test_a_report_has_one_row_for_each_photo(tmp_path, results):
    write_report(tmp_path / REPORT, results | {"\udcff.jpg": None}, NAMES)
    with (tmp_path / REPORT).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["warning"]) for row in rows] == [
        ("broken.jpg", "failed"), ("sub/a.jpg", ""), ("b.jpg", "empty"), ("\\udcff.jpg", "failed"),
    ]  # fmt: skip
    assert list(rows[1].values())[2:] == ["20", "10", "0.08", "0.8", "0.06", "0.9", "0.02", "0.5"]
    assert list(rows[2].values())[2:] == ["20", "10", "0.0", "", "0.0", "", "0.0", ""]


def test_coco_has_the_images_that_were_segmented_and_their_masks(tmp_path, results):
    write_coco(tmp_path / COCO, results, NAMES)
    content = json.loads((tmp_path / COCO).read_text())
    assert content["categories"] == [{"id": 1, "name": "upper"}, {"id": 2, "name": "lower"}]
    assert [image["file_name"] for image in content["images"]] == ["sub/a.jpg", "b.jpg"]
    first, second = content["annotations"]
    assert first == {
        "id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 2, 4, 2, 4, 6, 1, 6]], "bbox": [1, 2, 3, 4],
        "area": 12, "score": 0.9, "iscrowd": 0,
    }  # fmt: skip
    assert (second["id"], second["image_id"], second["category_id"]) == (2, 1, 2)


def test_only_files_of_an_earlier_run_are_replaced(tmp_path, results):
    for name, write in ((REPORT, write_report), (COCO, write_coco)):
        path = tmp_path / name
        refuse_foreign(path)
        write(path, results, NAMES)
        refuse_foreign(path)
        changed = ['{"images": []}', ""]  # as an annotation program exports it
        if name == COCO:
            content = json.loads(path.read_text())
            content["annotations"].pop()
            changed += [json.dumps(content), path.read_text().replace("sub/a.jpg", "sub/b.jpg"), path.read_text()[:-9]]
        else:
            changed += [path.read_text().replace("lower\n", "lower,remarks\n", 1)]
        for text in changed:
            path.write_text(text)
            with pytest.raises(UserError, match=f"{name} was not written by infer.py, or was changed"):
                refuse_foreign(path)


def test_confidence_is_the_mean_of_the_classes_where_it_is_known(tmp_path, results):
    content = json.loads(results["sub/a.jpg"].read_text())
    content["classes"]["lower"]["confidence"] = None  # only between the rows that were looked at
    results["sub/a.jpg"].write_text(json.dumps(content))
    write_report(tmp_path / REPORT, results, NAMES)
    with (tmp_path / REPORT).open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file))[1]["confidence"] == "0.9"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"classes": {"hat": {}}, "warning": null}', '{"classes": {}}'])
def test_a_result_of_other_classes_or_of_an_earlier_version_is_told(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    for name, write in ((REPORT, write_report), (COCO, write_coco)):
        with pytest.raises(UserError, match="without --skip_existing"):
            write(tmp_path / name, {"a.jpg": tmp_path / "a.json"}, NAMES)
        assert not (tmp_path / name).exists()
