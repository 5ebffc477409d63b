"""Label Studio's export of brush labels as PNG: the maps of all tags of a task are put together."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.classes import ClassTable
from tests.data.labels.drawn import read, save_photo
from tests.data.labels.test_label_maps import LABEL
from utils.errors import UserError


def export(folder: Path, task: int, label: np.ndarray = LABEL, tags: tuple = ("T-shirt", "Skirt")) -> Path:
    """Maps of the tags of a task: each in two parts, one of which is brushed by somebody else."""
    (folder / "export").mkdir(exist_ok=True)
    for value, tag in enumerate(tags, 1):
        mask = label == value
        for part, rows in enumerate((slice(0, 20), slice(20, None))):
            half = np.zeros(label.shape, np.uint8)
            half[rows] = mask[rows] * 255
            name = f"task-{task}-annotation-{task + part}-by-me{part}@example.com-tag-{tag}-{part}.png"
            Image.fromarray(half).save(folder / "export" / name)
    return folder / "export"


@pytest.mark.parametrize(("photos", "tasks"), [
    (["task-1.jpg", "task-12.jpg"], []), (["1.jpg", "12.jpg"], []),
    (["a.jpg", "b.jpg"], [{"id": 1, "data": {"image": "/data/upload/3/3f9ab2c1-a.jpg"}},
                          {"id": 12, "data": {"image": "s3://bucket/b.jpg", "note": "x"}}]),
    (["a.jpg", "b.jpg"], [{"id": 1, "data": {"photo": "https://example.com/a.jpg?x=1"}},
                          {"id": 12, "data": {"photo": "b"}}, {"id": 13, "data": None}, 5]),
])  # fmt: skip
def test_all_maps_of_a_task_are_put_together(photos, tasks, tmp_path):
    flipped = LABEL[:, ::-1]
    for photo, task, label in zip(photos, (1, 12), (LABEL, flipped), strict=True):
        save_photo(tmp_path / "photos" / photo, label > 0)
        folder = export(tmp_path, task, label)
    (folder / "project-1.json").write_text(json.dumps(tasks))
    (folder / "broken.json").write_text("{")
    for pipe in ("pipe.json", "pipe.png"):  # reading one would wait for ever
        os.mkfifo(folder / pipe)
    table = read(folder, tmp_path / "photos")
    assert [path.name for path in table.files] == photos
    assert np.array_equal(table.label_map(0), LABEL) and np.array_equal(table.label_map(1), flipped)


def test_unknown_tags_and_tasks_without_a_photo_are_refused_and_a_class_map_may_name_tags(tmp_path, monkeypatch):
    photos = save_photo(tmp_path / "photos/a.jpg", LABEL > 0).parent
    folder = export(tmp_path, 1, tags=("T-shirt", "frock"))
    with pytest.raises(UserError, match="missing photo.*put its export as JSON beside the maps"):
        read(folder, photos)
    (folder / "project-1.json").write_text(json.dumps([{"id": 1, "data": {"image": "a.jpg"}}]))
    with pytest.raises(UserError, match=r"masks of unknown categories: frock \(1 masks\)"):
        read(folder, photos)
    with monkeypatch.context() as patch, pytest.raises(UserError, match="missing photo"):
        patch.setattr("data.labels.label_studio.LARGEST_EXPORT", 20)  # a JSON of another kind may be huge
        read(folder, photos)
    classes = ClassTable(("frocks", "tops"), (("frock",), ("t-shirt",)))
    assert np.array_equal(read(folder, photos, classes).label_map(0), np.array([0, 2, 1])[LABEL])
