"""Files are whole or absent."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from utils.errors import UserError
from utils.files import FullDiskError, make_writable_folder, write_atomically

FULL_DISK = Path("/dev/full")  # takes the file and refuses every byte


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_bytes_and_functions_are_written_and_folders_made(tmp_path):
    folder = tmp_path / "a" / "b"
    write_atomically(folder / "bytes", b"content")
    write_atomically(folder / "function", lambda file: file.write(b"more"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"bytes": b"content", "function": b"more"}


@pytest.mark.parametrize("error", [OSError("disk full"), RuntimeError("torch"), KeyboardInterrupt(), ValueError("bug")])
def test_a_write_that_fails_half_way_leaves_the_old_file_or_nothing(tmp_path, error):
    def fail_half_way(file) -> None:
        file.write(b"half of the new")
        file.flush()
        raise error

    (tmp_path / "old").write_bytes(b"old")
    for path in (tmp_path / "old", tmp_path / "new"):
        with pytest.raises(UserError if isinstance(error, OSError | RuntimeError) else type(error)):
            write_atomically(path, fail_half_way)
    assert names(tmp_path) == ["old"] and (tmp_path / "old").read_bytes() == b"old"


@pytest.mark.skipif(not FULL_DISK.exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "write", [lambda full: full.write(bytes(1000)), lambda full: torch.save(torch.zeros(1000), full)]
)
def test_a_full_disk_is_told_from_other_faults_in_one_line(tmp_path, write):
    with (
        FULL_DISK.open("wb", buffering=0) as full,
        pytest.raises(FullDiskError, match="cannot write .*file: No space left on device") as caught,
    ):
        write_atomically(tmp_path / "file", lambda _: write(full))
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("target", "reason"),
    [("file/below", "Not a directory"), ("x" * 256, "File name too long"), ("folder", "Is a directory")],
)
def test_a_place_that_cannot_be_written_is_a_one_line_error(tmp_path, target, reason):
    (tmp_path / "file").write_bytes(b"in the way")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=f"cannot write .*: {reason}$") as caught:
        write_atomically(tmp_path / target, b"content")
    assert not isinstance(caught.value, FullDiskError) and "\n" not in str(caught.value)
    assert names(tmp_path) == ["file", "folder"]


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127 + "x", "line\nbreak", " ", "-", os.fsdecode(b"\xff")])
def test_every_name_that_a_file_may_have_can_be_written(tmp_path, name):
    write_atomically(tmp_path / name, b"content")
    assert names(tmp_path) == [name] and (tmp_path / name).read_bytes() == b"content"


def test_files_get_the_permissions_that_files_get_also_when_threads_write_them(tmp_path):
    (tmp_path / "plain").touch()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: write_atomically(tmp_path / str(i), b""), range(8)))
    assert {path.stat().st_mode for path in tmp_path.iterdir()} == {(tmp_path / "plain").stat().st_mode}


def test_a_writable_folder_is_made_and_left_empty_or_refused_in_one_line(tmp_path, monkeypatch):
    for _ in range(2):
        make_writable_folder(tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == []
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write into .*: Not a directory; choose another folder"):
        make_writable_folder(tmp_path / "file" / "below")
    refusal = OSError(errno.EROFS, os.strerror(errno.EROFS))
    monkeypatch.setattr("tempfile.NamedTemporaryFile", Mock(side_effect=refusal))
    with pytest.raises(UserError, match="Read-only file system"):
        make_writable_folder(tmp_path)
