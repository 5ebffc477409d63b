"""Files that are whole or absent, and files that are not trusted."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from utils.errors import UserError


def write_atomically(path: Path, content: bytes | Callable[[BinaryIO], None]) -> None:
    """Write bytes, or what a function writes, to a temporary file in the same folder and rename it to ``path``.

    Folders are made as needed. Raises UserError when the file cannot be written; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own, not one made from path.name: that may be as long as the file system allows.
        handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                content(file) if callable(content) else file.write(content)
            temporary.chmod(0o666 & ~_umask())  # mkstemp's files are private
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        # On a full disk torch.save follows the OSError up with a RuntimeError about positions in the file.
        reason = error.__context__ if isinstance(error.__context__, OSError) else error
        raise UserError(f"cannot write {path}: {getattr(reason, 'strerror', None) or reason}") from None


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
