"""The photographs of a folder, and a name for each one's results."""

import os
from collections import Counter
from pathlib import Path

from PIL import Image

from utils.errors import UserError

# Formats that Pillow only recognises, or reads with the help of programs that few have.
NOT_PHOTOGRAPHS = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}


def find_photos(folder: Path, leave_out: Path | None = None) -> list[Path]:
    """Paths, relative to ``folder`` and sorted, of the image files below it; links to folders are followed.

    Hidden files are passed over, and so is everything below ``leave_out`` (results inside the folder).
    Raises UserError when there is no such folder or no image in it.
    """
    suffixes = photo_suffixes()
    found = [path for path in _files(folder, leave_out) if path.suffix.lower() in suffixes]
    if not found:
        raise UserError(f"no photographs in {folder}")
    return found


def passed_over(folder: Path, photos: list[Path], leave_out: Path | None = None) -> Counter[str]:
    """How many of the files below ``folder`` are not among its ``photos``, by suffix in lower case."""
    others = set(_files(folder, leave_out)).difference(photos)
    return Counter(path.suffix.lower() or "without a suffix" for path in others)


def photo_suffixes() -> set[str]:
    """Suffixes, in lower case and with their dot, of the files that can be photographs."""
    Image.init()
    readable = {*Image.OPEN, "MPO"} - NOT_PHOTOGRAPHS  # Pillow reads MPO as JPEG
    return {suffix for suffix, form in Image.registered_extensions().items() if form in readable}


def _files(folder: Path, leave_out: Path | None) -> list[Path]:
    """The files below a folder as find_photos looks at them. Raises UserError when there is no such folder."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; give a folder of photographs")
    top, left_out = folder.resolve(), leave_out and leave_out.resolve()
    entered = {top}

    def enter(path: Path) -> bool:
        """Whether to go into a folder; one that links lead to again, or back up to, is not entered twice."""
        target = path.resolve()
        again = target in entered or (path.is_symlink() and (target in top.parents or top in target.parents))
        if path.name.startswith(".") or again or (target == left_out and target != top):
            return False
        entered.add(target)
        return True

    found = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in sorted(folders) if enter(Path(parent, name))]
        paths = (Path(parent, name) for name in files if not name.startswith("."))
        found += [path.relative_to(folder) for path in paths if path.is_file()]
    return sorted(found)


def result_names(photos: list[Path]) -> dict[Path, Path]:
    """Name of each photo's results, without their suffix, no two alike.

    ``a.jpg`` gives ``a``; where ``a.png`` stands beside it they give ``a.jpg`` and ``a.png``. Case is not
    told apart, as some file systems do not.
    """

    def key(path: Path) -> str:
        return str(path).lower()

    taken = Counter(key(photo.with_suffix("")) for photo in photos)
    taken.update(key(photo) for photo in photos)  # a file called a.jpg.png must not get a's name
    return {photo: photo.with_suffix("") if taken[key(photo.with_suffix(""))] == 1 else photo for photo in photos}
