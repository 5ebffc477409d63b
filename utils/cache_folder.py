"""A cache of files in the user's cache folder: checked when they are read, made again when they are broken."""

import hashlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from utils.errors import UserError
from utils.files import write_atomically

DIGEST_BYTES = 32


def cache_folder() -> Path:
    """The user's cache folder for this program, by the rules of the operating system. Raises UserError."""
    try:
        if sys.platform == "win32":
            base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
        elif sys.platform == "darwin":
            base = Path.home() / "Library/Caches"
        else:
            base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        raise UserError("this user has no home folder to keep files in; set HOME") from None
    return base / "cloth-segmentation"


def digest(*files: Path, method: str = "sha256") -> str:
    """Hash of the contents of files, one after the other, as text; they are read again where one of them changes."""
    return _digest(files, method, tuple((file.stat().st_size, file.stat().st_mtime_ns) for file in files))


@lru_cache
def _digest(files: tuple[Path, ...], method: str, _stamps: tuple[tuple[int, int], ...]) -> str:
    result = hashlib.new(method)
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                result.update(block)
    return result.hexdigest()


def cached(name: str, make: Callable[[], bytes]) -> bytes:
    """The bytes kept under ``name``, or made and kept.

    A file begins with the digest of the rest; one that does not fit is made again. A cache that cannot be written is
    no obstacle.
    """
    try:
        content = (cache_folder() / name).read_bytes()
        if hashlib.sha256(content[DIGEST_BYTES:]).digest() == content[:DIGEST_BYTES]:
            return content[DIGEST_BYTES:]
    except (OSError, UserError):
        pass
    content = make()
    with suppress(UserError):  # no home, or one that cannot be written
        write_atomically(cache_folder() / name, hashlib.sha256(content).digest() + content)
    return content
