"""Where the photos of a data set lie, whatever way its labels write their names, and how labels fit them."""

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from PIL import Image

from data.photos.folder import find_photos, name_key, photo_suffixes
from data.photos.open import PhotoError, open_photo, orientation
from utils.errors import UserError

DATA_SET = "https://www.kaggle.com/c/imaterialist-fashion-2019-FGVC6/data"  # said where its files are missing
MISSING_PHOTO, UNREADABLE_PHOTO = "missing photo", "photo that cannot be read"
UPLOADED = re.compile(r"(?<![^/\\])[0-9a-f]{8}-(?=[^/\\]+$)")  # as in 3f9ab2c1-a.jpg
MOST_PIXELS = 2**31 - 1  # positions of run-lengths are kept in 32 bits
SIDES_SWAPPED = 5  # EXIF orientations from here on turn a photo by 90 or 270 degrees


@dataclass(frozen=True)
class FoundPhoto:
    """A photo that labels name: where it is, or should be; None where they name none.

    size: (height, width) as stored; None where there is a ``fault``. orientation: EXIF's, 1 to 8, where it turns the
    photo only when it is opened upright. fault, detail: why the photo cannot be used.
    """

    path: Path | None
    size: tuple[int, int] | None = None
    orientation: int = 1
    fault: str | None = None
    detail: str = ""


class Fit(NamedTuple):
    """How a photo is opened to go with its labels.

    size: (height, width) of the photo opened so. upright: whether its EXIF rotation is applied. certain: whether the
    size of the labels decides that.
    """

    size: tuple[int, int]
    upright: bool = False
    certain: bool = True


def fit(photo: FoundPhoto, label_size: tuple[int, int]) -> Fit | None:
    """How labels drawn on label_size = (height, width) pixels lie on a photo; None where they do not fit it.

    They fit where the photo is of that size, or is a resized copy: there is a scale at which both of its sides are
    less than a pixel off. Labels drawn on the upright photo are recognised by its size where EXIF swaps the sides.
    """
    if min(label_size) < 1 or label_size[0] * label_size[1] > MOST_PIXELS:
        return None
    upright_size = photo.size[::-1] if photo.orientation >= SIDES_SWAPPED else photo.size
    as_stored, as_upright = _same_shape(label_size, photo.size), _same_shape(label_size, upright_size)
    if as_stored:
        return Fit(photo.size, certain=photo.orientation == 1 or not as_upright)
    return Fit(upright_size, upright=True) if as_upright else None


def _same_shape(label_size: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether one is the other at some scale, with both sides less than a pixel off."""
    (height, width), (h, w) = label_size, size
    return (h - 1) * width < (w + 1) * height and (w - 1) * height < (h + 1) * width


class PhotoFinder:
    """The photo of each name that labels use, looked up once.

    A name may lack its suffix or have another one, be in another case, use backslashes, have more or fewer folders in
    front than the photo has, be an address, or begin with Label Studio's mark of an upload. A name that could be one of
    several photos is a fault.
    """

    def __init__(self, folder: str, label_maps: str | None = None, maps: Collection[Path] = ()):
        """label_maps: folder of label maps, which are no photos. maps: those in it, relative to it. Raises
        UserError where there is no ``folder``.
        """
        if not Path(folder).is_dir():
            raise UserError(f"no folder of photos at {folder}{where_to_get(folder)}")
        self.folder = Path(folder)
        self._label_maps = Path(label_maps) if label_maps else None
        self._maps = set(maps)
        self._suffixes = photo_suffixes()
        self._known: dict[str, FoundPhoto] = {}

    def find(self, image_id: str) -> FoundPhoto:
        if image_id not in self._known:
            photos = (self._look_up(spelling) for spelling in _spellings(image_id))
            found = next((photo for photo in photos if photo.fault != MISSING_PHOTO), None)
            self._known[image_id] = found or self._look_up(image_id)
        return self._known[image_id]

    def _look_up(self, image_id: str) -> FoundPhoto:
        parts = [part for part in image_id.replace("\\", "/").split("/") if part not in ("", ".")]
        path = self._direct(image_id, parts) or self._direct("/".join(parts), parts)
        if not path:
            found = self._search(parts)
            if len(found) > 1:
                return FoundPhoto(
                    self.folder / found[0], fault="name of several photos", detail=f"{found[0]} and {found[1]}"
                )
            if not found:
                path = self.folder.joinpath(*parts)
                expected = path if self._has_photo_suffix(path.name) else path.parent / f"{path.name}.jpg"
                return FoundPhoto(expected, fault=MISSING_PHOTO)
            path = self.folder / found[0]
        try:
            with Image.open(path) as photo:  # reads the header only
                turned = 1 if photo.format == "TIFF" else orientation(photo)  # Pillow turns TIFFs itself
                return FoundPhoto(path, (photo.height, photo.width), turned)
        except Exception:  # Pillow's decoders raise what they like on broken files
            return self._decoded(path)

    def _decoded(self, path: Path) -> FoundPhoto:
        """A photo whose header is broken; its pixels may be sound."""
        try:
            photo = open_photo(path, upright=False)
            return FoundPhoto(path, (photo.height, photo.width))
        except PhotoError as error:
            return FoundPhoto(path, fault=UNREADABLE_PHOTO, detail=str(error))

    def _direct(self, name: str, parts: list[str]) -> Path | None:
        """The file that a name gives as it is, or with the .jpg that iMaterialist's 2020 edition leaves out, unless
        another photo has the same name but for its suffix."""
        if not parts or ".." in parts or Path(name).is_absolute():
            return None
        # Unlike Path.is_file it takes names that no file can have.
        if os.path.isfile(path := self.folder / name):  # noqa: PTH113
            return path
        if os.path.isfile(path := self.folder / f"{name}.jpg"):  # noqa: PTH113
            alike = (photo.with_suffix("").parts for photo in self._index[1].get(name_key(parts[-1]), ()))
            return path if list(alike).count(tuple(parts)) < 2 else None
        return None

    def _search(self, parts: list[str]) -> list[Path]:
        """Photos, relative to the folder, that a name can mean: those that agree with it best."""
        if ".." in parts:  # what comes before says where it lay elsewhere
            parts = parts[len(parts) - parts[::-1].index("..") :]
        if not parts:
            return []
        *folders, last = map(name_key, parts)
        stem = Path(last).stem if self._has_photo_suffix(last) else last
        best: dict[tuple[int, int], list[Path]] = {}
        by_name, by_stem = self._index
        for path in by_name.get(last) or by_stem.get(stem) or []:
            of_path = [name_key(part) for part in path.parts[:-1]]
            common = min(len(folders), len(of_path))
            if folders[len(folders) - common :] == of_path[len(of_path) - common :]:
                best.setdefault((common, -abs(len(folders) - len(of_path))), []).append(path)
        return best[max(best)] if best else []

    @cached_property
    def _index(self) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
        """Photos, relative to the folder, by name and by stem; made where a name is not a file's as it is."""
        by_name, by_stem = defaultdict(list), defaultdict(list)
        same_folder = self._label_maps and self._label_maps.resolve() == self.folder.resolve()
        try:
            photos = find_photos(self.folder, self._label_maps)
        except UserError:  # there is no photo at all
            photos = []
        for path in photos:
            if not (same_folder and path in self._maps):
                by_name[name_key(path.name)].append(path)
                by_stem[name_key(path.stem)].append(path)
        return by_name, by_stem

    def _has_photo_suffix(self, name: str) -> bool:
        return Path(name).suffix.lower() in self._suffixes


def _spellings(name: str) -> Iterator[str]:
    """A name as it is, then as a path instead of an address, then each without what Label Studio puts in front."""
    names = [name]
    if any(mark in name for mark in ("://", "%", "?")):
        with suppress(ValueError):  # it is no address
            address = urlsplit(name)
            local = parse_qs(address.query).get("d")  # Label Studio's own: /data/local-files/?d=photos/a.jpg
            names.append(unquote(local[0] if local else address.path))
    yield from names
    yield from (UPLOADED.sub("", spelling) for spelling in reversed(names))


def where_to_get(path: str | Path) -> str:
    """The end of a message about a missing file or folder: where the data set is, if that is what is missing."""
    return f"; iMaterialist (Fashion) 2019 is at {DATA_SET}" if "imaterialist" in str(path).lower() else ""
