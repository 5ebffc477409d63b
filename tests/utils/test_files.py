"""Files are whole or absent."""

from pathlib import Path

import pytest
import torch

from utils.errors import UserError
from utils.files import write_atomically

FULL_DISK = Path("/dev/full")  # takes the file and refuses every byte


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_bytes_and_functions_are_written_and_folders_made(tmp_path):
    write_atomically(tmp_path / "a" / "b" / "bytes", b"content")
    write_atomically(tmp_path / "a" / "b" / "function", lambda file: file.write(b"more"))
    assert (tmp_path / "a" / "b" / "bytes").read_bytes() == b"content"
    assert (tmp_path / "a" / "b" / "function").read_bytes() == b"more"
    assert names(tmp_path / "a" / "b") == ["bytes", "function"]


@pytest.mark.parametrize("error", [OSError("disk full"), RuntimeError("torch"), KeyboardInterrupt(), ValueError("bug")])
def test_a_write_that_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail_half_way(file) -> None:
        file.write(b"half of the new")
        file.flush()
        raise error

    with pytest.raises(UserError if isinstance(error, OSError | RuntimeError) else type(error)):
        write_atomically(path, fail_half_way)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(not FULL_DISK.exists(), reason="needs /dev/full")
def test_torch_saving_onto_a_full_disk_is_a_one_line_error(tmp_path):
    def save(file) -> None:
        with FULL_DISK.open("wb") as full:
            torch.save({"tensor": torch.zeros(1000)}, full)

    with pytest.raises(UserError, match="cannot write .*weights.pth: No space left on device") as caught:
        write_atomically(tmp_path / "weights.pth", save)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


@pytest.mark.parametrize("target", ["file/below", "x" * 300, "folder"])
def test_a_place_that_cannot_be_written_is_a_one_line_error(tmp_path, target):
    (tmp_path / "file").write_bytes(b"in the way")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="cannot write") as caught:
        write_atomically(tmp_path / target, b"content")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["file", "folder"]
