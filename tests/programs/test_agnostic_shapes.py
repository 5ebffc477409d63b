"""scripts/agnostic_shapes.py draws a row for each photo and category."""

from PIL import Image

from tests.helpers import SMALL, flags_of, run_here


def test_a_row_for_each_photo_and_category(tmp_path, tiny_checkpoint):
    (tmp_path / "photos").mkdir()
    for name, size in (("a.jpg", (40, 80)), ("b.png", (80, 80))):
        Image.new("RGB", size, "white").save(tmp_path / "photos" / name)
    flags = {"image_dir": tmp_path / "photos", "category": ["upper", "lower"], "pose": False, "height": 50, **SMALL}
    flags |= {"output": tmp_path / "sheet.jpg", "checkpoint_path": tiny_checkpoint}
    run = run_here("scripts/agnostic_shapes.py", *flags_of(flags))
    assert run.returncode == 0, run.stderr
    sheet = Image.open(tmp_path / "sheet.jpg")
    assert sheet.size == (4 * 50, 2 * 2 * 50)
