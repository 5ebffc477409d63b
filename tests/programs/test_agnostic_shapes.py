"""scripts/agnostic_shapes.py draws a row for each photo and category."""

import pytest
from PIL import Image

from tests.helpers import SMALL, flags_of, run_here


def test_a_row_for_each_photo_and_category(tmp_path, tiny_checkpoint):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/broken.jpg").write_text("no photo")
    for name, size in (("a.jpg", (40, 80)), ("b.png", (80, 80))):
        Image.new("RGB", size, "white").save(tmp_path / "photos" / name)
    flags = {"image_dir": tmp_path / "photos", "category": ["upper", "lower"], "pose": False, "height": 50, **SMALL}
    flags |= {"output": tmp_path / "sheet.jpg", "checkpoint_path": tiny_checkpoint}
    run = run_here("scripts/agnostic_shapes.py", *flags_of(flags))
    assert run.returncode == 1, "a photo was skipped"
    assert run.stderr.count("skipped") == 1 and "broken.jpg: not an image" in run.stderr
    sheet = Image.open(tmp_path / "sheet.jpg")
    assert sheet.size == (4 * 50, 2 * 2 * 50)


@pytest.mark.parametrize(("flags", "message"), [
    ({"category": "skirt"}, "--category skirt: this checkpoint knows any, upper, lower, full"),
    ({"output": "sheet.png"}, "--output sheet.png: the picture is a JPEG; name it .jpg"),
    ({"output": "a.jpg"}, "the picture would replace the photograph"),
])  # fmt: skip
def test_what_cannot_be_drawn(tmp_path, tiny_checkpoint, flags, message):
    photo = tmp_path / "a.jpg"
    Image.new("RGB", (40, 80), "white").save(photo)
    before = photo.read_bytes()
    if flags.get("output") == "a.jpg":
        flags = {"output": photo}
    common = {"image_dir": tmp_path, "pose": False, "checkpoint_path": tiny_checkpoint, **SMALL}
    run = run_here("scripts/agnostic_shapes.py", *flags_of(common | flags))
    assert run.returncode == 1 and f"error: {message}" in run.stderr, run.stderr
    assert photo.read_bytes() == before and not (tmp_path / "sheet.png").exists()
