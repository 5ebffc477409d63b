"""A folder of photos without clothes is a table without masks."""

import pytest
from PIL import Image

from data.classes import CLOTHES
from data.labels.read import read_labels
from utils.errors import UserError


def test_every_photo_below_the_folder_is_background_and_broken_ones_are_told(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.jpg", "deep/a.png"):
        Image.new("RGB", (30, 40)).save(tmp_path / name)
    (tmp_path / "c.jpg").write_bytes(b"no image")
    table = read_labels(None, str(tmp_path), CLOTHES)
    assert [path.name for path in table.files] == ["b.jpg", "a.png"]
    assert [table.label_map(i).any() for i in (0, 1)] == [False, False] and table.size(0) == (40, 30)
    reason = "not an image in a format that Pillow reads"
    assert table.skipped.unreadable == {tmp_path / "c.jpg": reason}
    assert table.lines() == [f"skipped 1 photo(s): photo that cannot be read (first: photo 2, c.jpg: {reason})"]
    assert len(read_labels(None, str(tmp_path), CLOTHES, max_photos=1)) == 1
    (tmp_path / "bare").mkdir()
    with pytest.raises(UserError, match="no photo.* in"):
        read_labels(None, str(tmp_path / "bare"), CLOTHES)
    with pytest.raises(UserError, match="no folder of photos at"):
        read_labels(None, str(tmp_path / "absent"), CLOTHES)
