"""Files are whole or absent."""

import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import DEFAULT, Mock

import pytest
import torch

from tests.helpers import run_script
from utils.errors import UserError
from utils.files import FullDiskError, remove_abandoned, whole_folder, write_atomically

FULL_DISK = Path("/dev/full")  # takes the file and refuses every byte


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("error", [OSError("disk full"), RuntimeError("torch"), KeyboardInterrupt()])
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
@pytest.mark.parametrize("write", [
    lambda full: full.write(bytes(1000)), lambda full: torch.save(torch.zeros(1000), full),
    Mock(side_effect=OSError(errno.EDQUOT, "No space left on device, of a user's quota")),
])  # fmt: skip
def test_a_full_disk_is_told_from_other_faults_in_one_line(tmp_path, write):
    with (
        FULL_DISK.open("wb", buffering=0) as full,
        pytest.raises(FullDiskError, match="cannot write .*file: No space left on device") as caught,
    ):
        write_atomically(tmp_path / "file", lambda _: write(full))
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["x" * 255, "line\nbreak", os.fsdecode(b"\xff")])
def test_every_name_that_a_file_may_have_can_be_written(tmp_path, name):
    write_atomically(tmp_path / name, b"content")
    assert names(tmp_path) == [name] and (tmp_path / name).read_bytes() == b"content"


KILLED = """
import os, sys
from pathlib import Path
from utils.files import whole_folder, write_atomically
folder = Path(sys.argv[1])
with whole_folder(str(folder / "whole")) as whole:
    (whole / "part").touch()
    write_atomically(folder / "file", lambda _: os.kill(os.getpid(), 9))
"""


def test_what_a_killed_process_left_is_removed_when_it_is_a_day_old_and_nothing_else_is(tmp_path):
    run_script("-c", KILLED, tmp_path)
    left = sorted(tmp_path.iterdir())
    assert [path.suffix for path in left] == [".tmp", ".tmp"]  # a file, and a folder with a file
    for hours in (23, 25):
        (tmp_path / "notes.tmp").touch()
        for path in (*tmp_path.iterdir(), *tmp_path.glob(".*/*")):
            os.utime(path, (time.time() - hours * 3600,) * 2)
        remove_abandoned.cache_clear()  # as in another process
        write_atomically(tmp_path / "file", b"")
        assert sorted(tmp_path.glob(".*.tmp")) == (left if hours < 24 else [])
    assert names(tmp_path) == ["file", "notes.tmp"]


def test_a_folder_that_a_process_still_writes_into_stays(tmp_path):
    inner = tmp_path / f".{'1' * 32}.tmp/photos"
    inner.mkdir(parents=True)
    (inner / "new").touch()
    for path in (inner, inner.parent):
        os.utime(path, (0, 0))
    remove_abandoned(tmp_path)
    assert (inner / "new").exists()


def test_what_is_new_by_a_servers_clock_stays_whatever_the_time_is_here(tmp_path):
    new = tmp_path / f".{'1' * 32}.tmp"
    new.touch()
    os.utime(new, (0, 0))
    os.utime(tmp_path, (3600, 3600))
    remove_abandoned(tmp_path)
    assert new.exists()


def test_what_cannot_be_removed_keeps_nothing_else_from_it(tmp_path, monkeypatch):
    for digit in "12":
        (tmp_path / f".{digit * 32}.tmp").touch()
        os.utime(tmp_path / f".{digit * 32}.tmp", (0, 0))
    remove = Mock(wraps=Path.unlink, side_effect=[PermissionError, DEFAULT])  # one is another user's
    monkeypatch.setattr(Path, "unlink", lambda path, **options: remove(path, **options))
    remove_abandoned(tmp_path)
    assert len(names(tmp_path)) == 1


def test_files_get_the_permissions_that_files_get_also_when_threads_write_them(tmp_path):
    (tmp_path / "plain").touch()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: write_atomically(tmp_path / str(i), b""), range(8)))
    assert {path.stat().st_mode for path in tmp_path.iterdir()} == {(tmp_path / "plain").stat().st_mode}


def test_a_folder_is_whole_or_nothing_is_left_and_nothing_is_replaced(tmp_path):
    def fill(output: Path, content: str) -> None:
        with whole_folder(str(output)) as folder:
            (folder / "file").write_text(content)
            if not content:
                raise KeyboardInterrupt

    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        with pytest.raises(KeyboardInterrupt):
            fill(tmp_path / name, "")
    assert names(tmp_path) == ["empty"] and names(tmp_path / "empty") == []
    for output in (tmp_path / "new", tmp_path / "empty"):
        fill(output, "first")
        for there in (output, output / "file"):
            with pytest.raises(UserError, match="exists already and is not an empty folder; choose another"):
                fill(there, "second")
        assert (output / "file").read_text() == "first"
    assert names(tmp_path) == ["empty", "new"]
