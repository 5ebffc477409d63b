"""The photographs of a folder, and a name for each one's results."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from data.photos.open import photo_suffixes
from utils.errors import UserError


def find_photos(folder: Path, leave_out: Path | None = None) -> list[Path]:
    """The photographs of list_folder. Raises UserError."""
    return list_folder(folder, leave_out)[0]


def list_folder(folder: Path, leave_out: Path | None = None) -> tuple[list[Path], Counter[str]]:
    """(photographs, how many other files by suffix in lower case) of what is below a folder.

    Photographs are paths relative to ``folder``, sorted. Links to folders are followed. Hidden files are passed over,
    and so is everything below ``leave_out`` (results inside the folder). Raises UserError when there is no such folder
    or no photograph in it.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; give a folder of photographs")
    results = leave_out.resolve() if leave_out else None
    if results and folder.resolve().is_relative_to(results):  # then photographs and results lie side by side
        results = None
    suffixes, photos, others = photo_suffixes(), [], Counter()
    for path in _walk(folder, results):
        suffix = path.suffix.lower()
        if suffix in suffixes:
            photos.append(path)
        else:
            others[suffix or "without a suffix"] += 1
    if not photos:
        raise UserError(f"no photographs in {folder}")
    return sorted(photos), others


def _walk(folder: Path, leave_out: Path | None) -> Iterator[Path]:
    """The files below a folder and links that lead nowhere, relative to it.

    Every folder is looked into once: its own place comes before links to it. Links back up, to a folder that this one
    lies in, are not followed.
    """
    folders, links, seen = [Path()], [], set(folder.resolve().parents)
    while folders or links:
        current = folders.pop() if folders else links.pop(0)
        place = (folder / current).resolve()
        if place in seen or (leave_out and place.is_relative_to(leave_out)):
            continue
        seen.add(place)
        try:
            with os.scandir(folder / current) as content:
                entries = sorted(content, key=lambda entry: entry.name)
        except OSError as error:
            if current == Path():
                raise UserError(f"cannot read the folder {folder}: {error.strerror}") from None
            continue  # such as lost+found
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = current / entry.name
            if not entry.is_symlink():  # known without another look at the disk
                if entry.is_dir():
                    folders.append(path)
                elif entry.is_file():  # not a pipe, say
                    yield path
                continue
            link = folder / path
            try:
                if link.is_dir():
                    links.append(path)
                    continue
                photo = link.is_file() or not link.exists()
            except OSError:  # it leads to where one may not look: told when it is opened
                photo = True
            if photo and not (leave_out and _target(link).is_relative_to(leave_out)):
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

    names = {photo: photo.with_suffix("") for photo in photos}
    taken = Counter(map(key, names.values()))
    taken.update(map(key, photos))  # so that a file called a.jpg.png does not get a's name
    return {photo: name if taken[key(name)] == 1 else photo for photo, name in names.items()}


def bare_names(photos: list[Path]) -> dict[Path, Path]:
    """The photographs' own names without their suffixes. Raises UserError where two would be alike."""
    names = {photo: photo.with_suffix("") for photo in photos}
    first: dict[str, Path] = {}
    for photo, name in names.items():
        other = first.setdefault(str(name).lower(), photo)
        if other != photo:
            raise UserError(f"{other} and {photo} would have results of one name; rename or remove one of them")
    return names
