"""Files that are whole or absent."""

import csv
import errno
import io
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from utils.errors import UserError

ABANDONED = 24 * 60 * 60  # seconds after which nobody is at work on a temporary file or folder any more


class FullDiskError(UserError):
    """There is no space left; other files would fail as well."""


def write_atomically(path: Path, content: bytes | Callable[[BinaryIO], None]) -> None:
    """Write bytes, or what a function writes, to a temporary file in the same folder and rename it to ``path``.

    Folders are made as needed. Raises UserError when the file cannot be written, FullDiskError when there is no space
    for it; nothing is left behind.
    """
    temporary = temporary_path(path.parent)
    try:
        make_folder(path.parent)
        try:
            with temporary.open("xb") as file:
                remove_abandoned(path.parent)
                if callable(content):  # a checkpoint, not one of a million masks: it must outlive a power cut
                    content(file)
                    file.flush()
                    os.fsync(file.fileno())
                else:
                    file.write(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        # On a full disk torch.save follows the OSError up with a RuntimeError about positions in the file.
        reason = error if isinstance(error, OSError) else error.__context__
        kind = FullDiskError if is_disk_full(reason) else UserError
        raise kind(f"cannot write {path}: {getattr(reason, 'strerror', None) or error}") from None


def temporary_path(folder: Path) -> Path:
    """A name that no other file has, not one made from a final name: that may be as long as the file system allows."""
    return folder / f".{uuid.uuid4().hex}.tmp"


@cache
def remove_abandoned(folder: Path) -> None:
    """Remove what processes that were killed left under a ``temporary_path`` of a folder; once in each process.

    Call it when a file was just made there: now is the folder's time, as the disk may be a server's with another clock.
    """
    for path in folder.glob(f".{'[0-9a-f]' * 32}.tmp"):  # nothing of a folder that may be written and not listed
        with suppress(OSError):  # it is another user's, or another process removes it too
            newest = max(each.stat().st_mtime for each in (path, *path.rglob("*")))
            if folder.stat().st_mtime - newest > ABANDONED:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A folder inside another one; it is removed at the end, unless it was renamed. Raises UserError, and one from
    within names files as if they lay in the other one."""
    make_writable_folder(parent)
    folder = temporary_path(parent)
    try:
        folder.mkdir()
        yield folder
    except UserError as error:
        raise type(error)(str(error).replace(str(folder), str(parent))) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_disk_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def write_csv(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Write rows, of which the first is the header, as UTF-8; bytes of file names that are not become \\udcff and the
    like. Raises UserError as write_atomically does."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_atomically(path, text.getvalue().encode(errors="backslashreplace"))


def make_writable_folder(folder: Path) -> None:
    """Make a folder where it is missing, and try whether files can be written there. Raises UserError."""
    try:
        make_folder(folder)
        trial = temporary_path(folder)
        trial.touch(exist_ok=False)
        remove_abandoned(folder)
        trial.unlink()
    except OSError as error:
        raise UserError(f"cannot write into {folder}: {error.strerror}; choose another folder") from None


def say_replaced(paths: Collection[Path]) -> None:
    """Say how many of the files that are about to be written are there already."""
    if there := sum(path.exists() for path in paths):
        print(f"{there} of {len(paths)} results are there already: replaced")


@contextmanager
def whole_folder(path: str) -> Iterator[Path]:
    """A folder to fill, which gets the name that --output_dir gives when it is whole; else nothing is left.

    Raises UserError where that is a folder which holds something, or a file, and where it cannot be made.
    """
    output = Path(path).resolve()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output} exists already and is not an empty folder; choose another --output_dir")
    with temporary_folder(output.parent) as folder:
        yield folder
        try:
            if output.is_dir():
                output.rmdir()  # empty; Windows does not rename onto a folder
            folder.rename(output)
        except OSError as error:
            raise UserError(f"cannot write {output}: {error.strerror}; choose another --output_dir") from None


def make_folder(folder: Path) -> None:
    """Make a folder where it is missing, and those that it lies in. Raises OSError."""
    if folder.exists() and not folder.is_dir():  # the system's words for this, "File exists", would mislead
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    folder.mkdir(parents=True, exist_ok=True)
