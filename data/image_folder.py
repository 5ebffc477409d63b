"""The photographs of a folder, and a name for each one's results."""

from collections import Counter
from pathlib import Path

from PIL import Image

from utils.errors import UserError


def find_photos(folder: Path, leave_out: Path | None = None) -> list[Path]:
    """Paths, relative to ``folder`` and sorted, of the image files below it.

    Hidden files are passed over, and so is everything below ``leave_out`` (results inside the folder).
    Raises UserError when there is no such folder or no image in it.
    """
    Image.init()
    suffixes = set(Image.registered_extensions())
    found = [path for path in _files(folder, leave_out) if path.suffix.lower() in suffixes]
    if not found:
        raise UserError(f"no photographs in {folder}")
    return found


def passed_over(folder: Path, photos: list[Path], leave_out: Path | None = None) -> Counter[str]:
    """How many of the files below ``folder`` are not among its ``photos``, by suffix in lower case."""
    others = set(_files(folder, leave_out)).difference(photos)
    return Counter(path.suffix.lower() or "without a suffix" for path in others)


def _files(folder: Path, leave_out: Path | None) -> list[Path]:
    """The files below a folder as find_photos looks at them. Raises UserError when there is no such folder."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; give a folder of photographs")
    inside = leave_out is not None and folder.resolve() in leave_out.resolve().parents
    return [
        path.relative_to(folder)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not (inside and path.resolve().is_relative_to(leave_out.resolve()))
    ]


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
