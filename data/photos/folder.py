"""The photos of a folder, and a name for each one's results."""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from data.photos.open import photo_suffixes
from utils.errors import UserError


def find_photos(folder: Path, leave_out: Path | None = None) -> list[Path]:
    """The photos of list_folder. Raises UserError."""
    return list_folder(folder, leave_out)[0]


def list_folder(folder: Path, leave_out: Path | None = None) -> tuple[list[Path], Counter[str]]:
    """(photos, how many other files by suffix in lower case) of what is below a folder.

    Photos are paths relative to ``folder``, sorted. Links to folders are followed. Hidden files are passed over, and so
    is everything below ``leave_out`` (results inside the folder). Raises UserError when there is no such folder or no
    photo in it.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; give a folder of photographs")
    results = leave_out.resolve() if leave_out else None
    if results and folder.resolve().is_relative_to(results):  # then photos and results lie side by side
        results = None
    suffixes, photos, others = photo_suffixes(), [], Counter()
    for path in _walk(folder, results):
        suffix = path.suffix.lower()
        if suffix not in suffixes:
            others[suffix or "without a suffix"] += 1
        elif _may_be_photo(path, results):
            photos.append(path.relative_to(folder))
    if not photos:
        raise UserError(f"no photographs in {folder}")
    return sorted(photos), others


def _walk(folder: Path, leave_out: Path | None) -> Iterator[Path]:
    """Whatever is below a folder and is not a folder.

    Every folder is visited once: in its own place if that is below ``folder``, else through the first link to it. Links
    back up, to a folder that this one lies in, are not followed.
    """

    def refuse(error: OSError) -> None:
        if Path(error.filename) == folder:  # others are passed over, such as lost+found
            raise UserError(f"cannot read the folder {folder}: {error.strerror}") from None

    visited, starts = set(folder.resolve().parents), [folder]
    for start in starts:  # grows: links are followed when all folders in their own places have been visited
        for current, folders, files in os.walk(start, onerror=refuse):
            place = Path(current).resolve()
            visible = sorted(name for name in folders if not name.startswith("."))
            folders.clear()
            if place in visited or (leave_out and place.is_relative_to(leave_out)):
                continue
            visited.add(place)
            for name in visible:
                path = Path(current, name)
                starts.append(path) if path.is_symlink() else folders.append(name)
            yield from (Path(current, name) for name in files if not name.startswith("."))


def _may_be_photo(path: Path, leave_out: Path | None) -> bool:
    """Whether a path is a file, or a link to one that is not below ``leave_out``."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe, say
            return False
    except OSError:  # a link that leads nowhere, or to where one may not look: opening it says so
        return True
    return not (leave_out and path.is_symlink() and path.resolve().is_relative_to(leave_out))


def result_names(photos: list[Path]) -> dict[Path, Path]:
    """Name of each photo's results, without their suffix, no two alike.

    ``a.jpg`` gives ``a``; with an ``a.png`` in the same folder they give ``a.jpg`` and ``a.png``. Case is not told
    apart, as some file systems do not.
    """

    def key(path: Path) -> str:
        return str(path).lower()

    names = {photo: photo.with_suffix("") for photo in photos}
    taken = Counter(map(key, names.values()))
    taken.update(map(key, photos))  # so that a file called a.jpg.png does not get a's name
    return {photo: name if taken[key(name)] == 1 else photo for photo, name in names.items()}
