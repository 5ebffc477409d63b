"""report.csv and coco.json: what stands in them, and that no earlier file is lost."""

import csv
import errno
import json
import re
from pathlib import Path
from unittest.mock import DEFAULT, Mock

import pycocotools.coco
import pytest

from data.results.folder_report import COCO, REPORT, write_coco, write_report, write_summary
from tests.helpers import small_disk
from utils.errors import UserError

NAMES = ("background", "upper", "lower")


def entry(area: int, confidence: float | None) -> dict:
    box = [1, 2, 4, 6] if area else None
    ring = [[1, 2, 4, 2, 4, 6, 1, 6]] if area else []
    known = {"present": area > 0, "area": area, "share": area / 200, "box": box}
    return known | {"confidence": confidence, "polygons": ring}


@pytest.fixture
def results(tmp_path):
    results = {"broken.jpg": None, "sub/a.jpg": tmp_path / "0.json", "b.jpg": tmp_path / "1.json"}
    dressed, bare = {"upper": entry(12, 0.9), "lower": entry(4, 0.5)}, dict.fromkeys(NAMES[1:], entry(0, None))
    for name, warning, classes in (("sub/a.jpg", None, dressed), ("b.jpg", "empty", bare)):
        results[name].write_text(json.dumps({"height": 10, "width": 20, "warning": warning, "classes": classes}))
    return results


def test_a_report_has_one_row_for_each_photo(tmp_path, results):
    write_report(tmp_path / REPORT, results | {"\udcff.jpg": None}, NAMES)
    assert (tmp_path / REPORT).read_bytes().startswith(b"\xef\xbb\xbffile,")  # as Excel reads accents
    with (tmp_path / REPORT).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["warning"]) for row in rows] == [
        ("broken.jpg", "failed"), ("sub/a.jpg", ""), ("b.jpg", "empty"), ("\\udcff.jpg", "failed"),
    ]  # fmt: skip
    assert list(rows[1].values())[2:] == ["20", "10", "0.08", "0.8", "0.06", "0.9", "0.02", "0.5"]
    assert list(rows[2].values())[2:] == ["20", "10", "0.0", "", "0.0", "", "0.0", ""]
    content = json.loads(results["sub/a.jpg"].read_text())
    content["classes"]["lower"]["confidence"] = None  # only between the rows that were looked at
    results["sub/a.jpg"].write_text(json.dumps(content))
    write_report(tmp_path / REPORT, results, NAMES)
    assert ",0.08,0.9," in (tmp_path / REPORT).read_text()


def test_coco_has_the_images_that_were_segmented_and_their_masks(tmp_path, results):
    content = json.loads(results["sub/a.jpg"].read_text())
    content["classes"]["lower"] = entry(4, None) | {"polygons": [[6, 2, 8, 2, 8, 4, 6, 4]], "box": [6, 2, 8, 4]}
    results["sub/a.jpg"].write_text(json.dumps(content))
    write_coco(tmp_path / COCO, results, NAMES)
    content = json.loads((tmp_path / COCO).read_text())
    assert content["licenses"] == [] and content["info"]["description"]  # CVAT wants both
    assert content["categories"] == [{"id": 1, "name": "upper"}, {"id": 2, "name": "lower"}]
    assert [image["file_name"] for image in content["images"]] == ["sub/a.jpg", "b.jpg"]
    first, second = content["annotations"]
    assert first == {
        "id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 2, 4, 2, 4, 6, 1, 6]], "bbox": [1, 2, 3, 4],
        "area": 12, "score": 0.9, "iscrowd": 0,
    }  # fmt: skip
    assert (second["id"], second["image_id"], second["category_id"]) == (2, 1, 2)
    assert "score" not in second  # CVAT refuses a score of null
    data = pycocotools.coco.COCO(tmp_path / COCO)
    assert [int(data.annToMask(each).sum()) for each in data.loadAnns(data.getAnnIds())] == [12, 4]


@pytest.mark.parametrize("name", [REPORT, COCO])
def test_an_earlier_file_with_other_content_is_kept_under_a_new_name(tmp_path, results, name):
    path = tmp_path / name
    first, second = path.with_stem(f"{path.stem}.1"), path.with_stem(f"{path.stem}.2")
    assert write_summary(path, results, NAMES) is None
    assert write_summary(path, results, NAMES) is None and not first.exists()  # it is the same
    for kept, text in ((first, "corrected by hand"), (second, "")):
        path.write_text(text)
        assert write_summary(path, results, NAMES) == kept
        assert kept.read_text() == text and "sub/a.jpg" in path.read_text()
    before = path.read_text()
    with pytest.raises(UserError, match="without --skip_existing"):
        write_summary(path, results, ("background", "hat"))
    assert path.read_text() == before


def test_a_full_disk_leaves_the_earlier_file_and_nothing_else(tmp_path, results):
    with small_disk(tmp_path / "disk", "16k") as disk:
        (disk / REPORT).write_bytes(bytes(16 << 10))
        with pytest.raises(UserError, match=f"^cannot write {re.escape(str(disk / REPORT))}: No space left"):
            write_summary(disk / REPORT, results, NAMES)
        assert list(disk.iterdir()) == [disk / REPORT]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_earlier_content_is_whole_wherever_a_run_ends(number, tmp_path, results, monkeypatch):
    """It ends before the given one of the renames that it makes."""
    (tmp_path / REPORT).write_text("corrected by hand")
    replace = Mock(wraps=Path.replace, side_effect=[DEFAULT] * (number - 1) + [KeyboardInterrupt])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", lambda *paths: replace(*paths))
        write_summary(tmp_path / REPORT, results, NAMES)
    left = [path.read_text() for path in tmp_path.glob("report*")]
    assert set(left) - {""} == {"corrected by hand"}  # an empty file may reserve a name
    write_summary(tmp_path / REPORT, results, NAMES)
    assert "sub/a.jpg" in (tmp_path / REPORT).read_text()
    assert [path.read_text() for path in tmp_path.glob("report.*.csv")].count("corrected by hand") == 1


def test_a_file_that_another_program_holds_open_on_windows_is_named(tmp_path, results, monkeypatch):
    replace = Path.replace

    def refuse(path: Path, target: Path) -> None:
        if target == tmp_path / REPORT:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        replace(path, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(UserError, match=f"^cannot replace {re.escape(str(tmp_path / REPORT))}: Permission denied$"):
        write_summary(tmp_path / REPORT, results, NAMES)


def test_what_earlier_runs_kept_stays_where_the_file_cannot_be_read(tmp_path, results):
    (tmp_path / REPORT).mkdir()
    (tmp_path / "report.1.csv").write_text("corrected by hand")
    with pytest.raises(UserError, match="cannot keep .*report.csv"):
        write_summary(tmp_path / REPORT, results, NAMES)
    assert (tmp_path / "report.1.csv").read_text() == "corrected by hand"


@pytest.mark.parametrize("content", [
    "{", "[]", '{"classes": {"hat": {}}, "warning": null}', '{"classes": {}}', '{"classes": {"upper": 1, "lower": 2}}',
    '{"classes": {"upper": {}, "lower": {}}, "warning": null, "width": 2, "height": 2}',
])  # fmt: skip
@pytest.mark.parametrize("write", [write_report, write_coco])
def test_a_result_of_other_classes_or_of_an_earlier_version_is_told(tmp_path, content, write):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match="without --skip_existing"):
        write(tmp_path / "summary", {"a.jpg": tmp_path / "a.json"}, NAMES)
    assert not (tmp_path / "summary").exists()
