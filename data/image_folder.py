"""The photographs of a folder, and a name for each one's results."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from data.photo import photo_suffixes
from utils.errors import UserError


def find_photos(folder: Path, leave_out: Path | None = None) -> list[Path]:
    """Paths, relative to ``folder`` and sorted, of the image files below it.

    Links to folders are followed. Hidden files are passed over, and so is everything below ``leave_out`` (results
    inside the folder). Raises UserError when there is no such folder or no image in it.
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


def _files(folder: Path, leave_out: Path | None) -> list[Path]:
    """The files below a folder as find_photos looks at them, and links that lead nowhere. Raises UserError."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; give a folder of photographs")
    results = leave_out.resolve() if leave_out else None
    if results and folder.resolve().is_relative_to(results):  # then photographs and results lie side by side
        results = None
    return sorted(path.relative_to(folder) for path in _walk(folder, results))


def _walk(folder: Path, leave_out: Path | None) -> Iterator[Path]:
    """The files below a folder. Every folder is looked into once: its own place comes before links to it.

    Links back up, to a folder that this one lies in, are not followed.
    """
    folders, links, seen = [folder], [], set(folder.resolve().parents)
    while folders or links:
        current = folders.pop() if folders else links.pop(0)
        place = current.resolve()
        if place in seen or (leave_out and place.is_relative_to(leave_out)):
            continue
        seen.add(place)
        try:
            content = sorted(current.iterdir())
        except OSError as error:
            if current == folder:
                raise UserError(f"cannot read the folder {folder}: {error.strerror}") from None
            continue  # such as lost+found
        for path in content:
            if path.name.startswith("."):
                continue
            linked = path.is_symlink()
            if path.is_dir():
                (links if linked else folders).append(path)
            elif not linked:
                if path.is_file():  # not a pipe, say
                    yield path
            elif (path.is_file() or not path.exists()) and not (leave_out and _target(path).is_relative_to(leave_out)):
                yield path


def _target(link: Path) -> Path:
    """Where a link leads; a link that leads to itself is where it is."""
    return Path(os.path.realpath(link))  # unlike Path.resolve it has no objection to loops


def result_names(photos: list[Path]) -> dict[Path, Path]:
    """Name of each photo's results, without their suffix, no two alike.

    ``a.jpg`` gives ``a``; where ``a.png`` stands beside it they give ``a.jpg`` and ``a.png``. Case is not
    told apart, as some file systems do not.
    """

    def key(path: Path) -> str:
        return str(path).lower()

    taken = Counter(key(photo.with_suffix("")) for photo in photos)
    taken.update(key(photo) for photo in photos)  # so that a file called a.jpg.png does not get a's name
    return {photo: photo.with_suffix("") if taken[key(photo.with_suffix(""))] == 1 else photo for photo in photos}


def bare_names(photos: list[Path]) -> dict[Path, Path]:
    """The photographs' own names without their suffixes. Raises UserError where two would be alike."""
    names = {photo: photo.with_suffix("") for photo in photos}
    first: dict[str, Path] = {}
    for photo, name in names.items():
        other = first.setdefault(str(name).lower(), photo)
        if other != photo:
            raise UserError(f"{other} and {photo} would have results of one name; rename or remove one of them")
    return names
