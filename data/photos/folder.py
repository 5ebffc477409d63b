"""The photos of a folder, and a name for each one's results."""

import glob
import os
import stat
import sys
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from data.photos.open import PhotoError, open_photo, photo_suffixes
from utils.errors import UserError, escape_unprintable

SYSTEM_FOLDERS = ("lost+found", "System Volume Information", "$RECYCLE.BIN")  # of a disk: only its owner may read them


@dataclass
class Listing:
    """What list_photos found.

    folder: the one that all lie in. photos: relative to it, sorted. ignored: how many other files, by suffix in lower
    case. unreadable: a line for each folder that cannot be read.
    """

    folder: Path
    photos: list[Path]
    ignored: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)


def find_photos(folder: Path, leave_out: Path | None = None) -> list[Path]:
    """The photos below a folder, relative to it, see list_photos; warns of folders it cannot read. Raises UserError."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; give a folder of photographs")
    listing = list_photos([folder], leave_out)
    for line in listing.unreadable:
        warnings.warn(line, stacklevel=2)
    return listing.photos


def find_files(folder: Path, suffix: str) -> list[Path]:
    """The files with a suffix below a folder, relative to it, found as photos are."""
    unreadable: list[str] = []
    below = (path for path in _walk(folder, None, unreadable) if path.suffix.lower() == suffix)
    found = [path.relative_to(folder) for path in below if _may_be_photo(path, None)]
    for line in unreadable:
        warnings.warn(line, stacklevel=2)
    return found


def readable_photos(paths: Iterable[Path], size: tuple[int, int] | None = None) -> Iterator[tuple[Path, Image.Image]]:
    """(path, photo) of those that open_photo opens, at ``size`` if one is given; the others are named."""
    from tqdm import tqdm  # here: the server and the client have none

    for path in paths:
        try:
            yield path, open_photo(path, size)
        except PhotoError as error:
            tqdm.write(f"skipped {escape_unprintable(path)}: {error}", file=sys.stderr)


def list_photos(sources: list[Path], leave_out: Path | None = None) -> Listing:
    """The photos of files and folders, with their sub-folders; a name with wildcards stands for what it matches.

    Links to folders are followed. Below folders, hidden files are passed over, and so is everything below ``leave_out``
    (results inside the folder). A single file is taken whatever its name. Raises UserError when a source is missing, or
    there is no photo.
    """
    sources = [path for source in sources for path in _matching(source)]
    if len(sources) == 1 and sources[0].is_file():
        return Listing(sources[0].parent, [Path(sources[0].name)])
    if len(sources) > 1:
        sources = [Path(os.path.normpath(source.absolute())) for source in sources]
    folders = [source if source.is_dir() else source.parent for source in sources]
    try:
        folder = Path(os.path.commonpath(folders)) if len(folders) > 1 else folders[0]
    except ValueError:
        raise UserError("the photos are on several drives; give those of one drive at a time") from None
    listing, suffixes, photos = Listing(folder, []), photo_suffixes(), set()
    results = leave_out.resolve() if leave_out else None
    if results and folder.resolve().is_relative_to(results):  # then photos and results lie side by side
        results = None
    for source in sources:
        for path in _walk(source, results, listing.unreadable) if source.is_dir() else [source]:
            suffix = path.suffix.lower()
            if suffix not in suffixes:
                listing.ignored[suffix or "without a suffix"] += 1
            elif _may_be_photo(path, results):
                photos.add(path.relative_to(folder))
    listing.photos = sorted(photos)
    if not photos:
        raise UserError(*listing.unreadable[:1] or [f"no photographs in {', '.join(map(str, sources))}"])
    return listing


def _matching(source: Path) -> list[Path]:
    """A path, or what matches its wildcards where a shell left them. Raises UserError where there is nothing."""
    if source.exists():
        return [source]
    found = sorted(map(Path, glob.glob(str(source), recursive=True)))  # noqa: PTH207 (which takes no absolute patterns)
    if not found:
        raise UserError(f"there is no folder or photo {source}; give a folder of photographs")
    return found


def _walk(folder: Path, leave_out: Path | None, unreadable: list[str]) -> Iterator[Path]:
    """Whatever is below a folder and is not a folder.

    Every folder is visited once: in its own place if that is below ``folder``, else through the first link to it. Links
    back up, to a folder that this one lies in, are not followed. unreadable: gets a line for each that cannot be read.
    """

    def note(error: OSError) -> None:
        unreadable.append(f"cannot read the folder {error.filename}: {error.strerror}")

    visited, starts = set(folder.resolve().parents), [folder]
    for start in starts:  # grows: links are followed when all folders in their own places have been visited
        for current, folders, files in os.walk(start, onerror=note):
            place = Path(current).resolve()
            visible = sorted(name for name in folders if not name.startswith(".") and name not in SYSTEM_FOLDERS)
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


def name_key(name: str | Path) -> str:
    """A name or path as it is compared: some systems write letters with accents as two characters, and case varies."""
    return unicodedata.normalize("NFC", str(name).strip()).casefold()


def result_names(photos: list[Path]) -> dict[Path, Path]:
    """Name of each photo's results, without their suffix, no two alike.

    ``a.jpg`` gives ``a``; with an ``a.png`` in the same folder they give ``a.jpg`` and ``a.png``. Case is not told
    apart, as some file systems do not.
    """
    names = {photo: photo.with_suffix("") for photo in photos}
    taken = Counter(map(name_key, names.values()))
    taken.update(map(name_key, photos))  # so that a file called a.jpg.png does not get a's name
    return {photo: name if taken[name_key(name)] == 1 else photo for photo, name in names.items()}
