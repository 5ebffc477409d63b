"""Files that virtual try-on programs read, in the folders and with the names they look for (docs/tryon.md)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from data.labels.label_map_values import read_label_map
from data.labels.rle import LabelError
from data.photos.folder import name_key
from data.photos.open import PhotoError
from data.results.formats import binary_image, encoded, image_file, jpeg
from data.results.postprocess import Postprocess
from data.results.segmentation import Segmentation
from data.tryon.agnostic import Margin, ParseMap, agnostic_mask
from data.tryon.body import PARSE_LABELS
from utils.errors import UserError

GREY = 128  # Pillow's "gray", in which VITON-HD draws
WHITE = (255, 255, 255)  # around photos that are padded
# Formats of one channel that loaders read, and whose values stay on their side of 128.
WRITERS = {".png": "PNG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF", ".jpg": "JPEG", ".jpeg": "JPEG"}
# DressCode's folders, whose names say what is put on.
CATEGORY_OF_FOLDER = {"upper_body": "upper", "lower_body": "lower", "dresses": "full"}


@dataclass(frozen=True)
class Kind:
    """Photos of a data set that have the same files: those in folders of this name whose names end like this.

    files: below the folder that theirs lies in; {name} and {stem} stand for the photo's name with and without suffix.
    """

    folder: str
    files: tuple[str, ...]
    of_people: bool = False
    ending: str = ""


CLOTH_MASK, AGNOSTIC_MASK = "cloth-mask/{name}", "agnostic-mask/{stem}_mask.png"
GREYED = "agnostic-v3.2/{stem}.jpg"
VITON_GARMENTS = Kind("cloth", (CLOTH_MASK,))
VITON_PEOPLE = Kind("image", (AGNOSTIC_MASK, GREYED), of_people=True)
PRESETS = {  # what reads their files: docs/tryon.md
    "viton": (VITON_GARMENTS, VITON_PEOPLE),
    "agnostic": (VITON_PEOPLE,),
    "dresscode": (
        Kind("images", ("masks/{stem}.png",), ending="_1"),
        Kind("images", ("agnostic_masks/{stem}.png",), of_people=True, ending="_0"),
    ),
    "gp-vton": (Kind("cloth", ("cloth_mask-bytedance/{stem}.png",)),),
}


@dataclass(frozen=True)
class Fit:
    """Size (height, width) that photos and masks are given: padded with white, or cropped around their middle."""

    size: tuple[int, int]
    crop: bool = False

    @classmethod
    def parse(cls, text: str, crop: bool = False) -> "Fit":
        """Of a text such as 768x1024, width first. Raises UserError."""
        width, _, height = text.partition("x")
        if not all(side.isascii() and side.isdecimal() and 0 < int(side) <= 10_000 for side in (width, height)):
            raise UserError(f"--size {text} is not a size; write width and height as 768x1024")
        return cls((int(height), int(width)), crop)

    def __call__(self, image: Image.Image, colour: object = WHITE, method=Image.Resampling.LANCZOS) -> Image.Image:
        """A photo, or a map of values with method=NEAREST, at the size. Raises PhotoError."""
        if self.crop:
            return ImageOps.fit(image, self.size[::-1], method)
        try:
            return ImageOps.pad(image, self.size[::-1], method, color=colour)
        except ValueError:  # one of its sides becomes 0
            raise PhotoError(f"{image.width}x{image.height} is too narrow for --size; crop it") from None


@dataclass(frozen=True)
class ParseMaps:
    """Parse maps of people, PNG files named as their photos. labels: of PARSE_LABELS."""

    folder: Path
    labels: str

    def read(self, photo: Path, fit: Fit | None, size: tuple[int, int]) -> ParseMap:
        """(values H x W uint8, their names) for a photo, by its path in its folder. size: (H, W). Raises PhotoError."""
        path, names = (self.folder / photo).with_suffix(".png"), PARSE_LABELS[self.labels]
        try:
            values = read_label_map(path)
        except LabelError as error:
            raise PhotoError(f"no parse map {path}: {error}") from None
        if values.max() >= len(names):
            raise PhotoError(f"{path} has the value {values.max()}, which {self.labels} has not; see --parse_labels")
        values = values.astype(np.uint8)
        try:
            if fit:
                values = np.asarray(fit(Image.fromarray(values), 0, Image.Resampling.NEAREST))
        except PhotoError as error:
            raise PhotoError(f"the parse map {path}: {error}") from None
        if values.shape != size:
            raise PhotoError(f"the parse map {path} has another size than its photo")
        return values, names


@dataclass(frozen=True)
class Preset:
    """What infer.py writes of each photo in place of an OutputLayout.

    kinds: of PRESETS. sources: the folder of all photos, or several. categories: of garments that are put on, or
    masked. one_garment: whether photos of garments show a single one. find_joints: of an RGB photo, see agnostic_mask.
    fit: the size of everything; then photos are written, too.
    """

    kinds: tuple[Kind, ...]
    sources: list[Path]
    categories: list[str]
    one_garment: bool = True
    shape: str = "hull"
    margin: Margin = Margin(2, "%")
    fit: Fit | None = None
    parse_maps: ParseMaps | None = None
    find_joints: Callable[[Image.Image], np.ndarray | None] = lambda photo: None

    @property
    def needs_photo(self) -> bool:
        return self.fit is not None or self.of_people

    @property
    def of_people(self) -> bool:
        """Whether there may be people on the photos."""
        return any(kind.of_people for kind in self._present)

    @property
    def has_folders(self) -> bool:
        """Whether the photos lie in folders that tell them from everything else beside them."""
        return all(kind.folder for kind in self._present)

    @cached_property
    def _present(self) -> tuple[Kind, ...]:
        """The kinds whose folders are there. Where there are none, all photos are of one kind, or of those that their
        names tell: the kind whose folder they lie in themselves, else the first."""
        places = [*self.sources, *(place for source in self.sources for place in source.glob("*") if place.is_dir())]
        named = {source.name for source in self.sources if len(self.sources) > 1}  # photos are named from above these
        present = [k for k in self.kinds if k.folder in named or any((place / k.folder).is_dir() for place in places)]
        own = {(source if source.is_dir() else source.parent).absolute().name for source in self.sources}
        one = next((kind for kind in self.kinds if own == {kind.folder}), self.kinds[0])
        alone = [replace(kind, folder="") for kind in self.kinds if kind.ending or kind == one]
        return tuple(present or alone)

    def names(self, photos: list[Path]) -> dict[Path, Path]:
        """Each photo that gets files, and its path in the folder of all. Raises UserError."""
        places = {photo: place for photo in photos if (place := self._place(photo))}
        if not places:
            endings = " or ".join(kind.ending for kind in self._present)
            raise UserError(f"no photos in {', '.join(map(str, self.sources))} have names that end in {endings}")
        first: dict[str, Path] = {}
        for photo in places:
            for path in self.paths(Path(), photo).values():
                other = first.setdefault(name_key(path), photo)
                if other != photo:
                    raise UserError(f"{other} and {photo} would have results of one name; rename or remove one of them")
        return {photo: photo for photo in places}

    def paths(self, result_dir: Path, name: Path) -> dict[tuple[str, str], Path]:
        """As OutputLayout's; several categories have a data set each, in folders of their names."""
        kind, before, rest = self._place(name) or (self._present[0], Path(), name)
        categories = self._categories(kind, before)
        folder = next(each.folder for each in self.kinds if each.files == kind.files)
        files = [*kind.files, f"{folder}/{{name}}"] if self.fit else kind.files
        return {
            (file, category): result_dir / before / (category if len(categories) > 1 else "") / _filled_in(file, rest)
            for category in categories
            for file in files
        }

    def encoder(self, result: Segmentation, name: Path) -> Callable[[str, str], bytes]:
        """As OutputLayout's; other formats than the preset's own are those of --outputs. Raises PhotoError."""
        kind, _, rest = self._place(name)
        if name.suffix.lower() not in WRITERS and (self.fit or "{name}" in kind.files[0]):
            raise PhotoError(
                f"a mask with one channel cannot be {name.suffix or 'without a suffix'}; save the photo as .jpg or .png"
            )
        if kind.of_people:
            parse_map = self.parse_maps.read(rest, self.fit, result.size) if self.parse_maps else None
            joints = self.find_joints(result.photo)
        else:
            garment = Postprocess(one_garment=self.one_garment)(result)

        @cache
        def mask(category: str) -> Image.Image:
            if not kind.of_people:
                return binary_image(garment.only(category))
            area = agnostic_mask(result, category, self.shape, self.margin, joints, parse_map)
            return Image.fromarray(area.astype(np.uint8) * 255)

        def encode(file: str, category: str) -> bytes:
            if "{" not in file:
                return encoded(result.only(category), file)
            if file not in kind.files:
                return picture(result.photo, name.suffix)
            if file == GREYED:
                return picture(greyed(result.photo, mask(category)), ".jpg")
            return picture(mask(category), Path(_filled_in(file, rest)).suffix)

        return encode

    def _place(self, name: Path) -> tuple[Kind, Path, Path] | None:
        """(kind, path above the folder of that kind, path below it) of a photo, or None where it is of no kind."""
        for kind in self._present:
            folders = name.parts[:-1]
            if name.stem.endswith(kind.ending) and (not kind.folder or kind.folder in folders):
                at = folders.index(kind.folder) + 1 if kind.folder else 0
                return kind, Path(*folders[: max(0, at - 1)]), Path(*name.parts[at:])
        return None

    def _categories(self, kind: Kind, before: Path) -> list[str]:
        """Those of a photo: DressCode's folders say them. Beside people, a garment is masked whatever its class."""
        folder = self.sources[0] / before if len(self.sources) == 1 else before
        of_folder = CATEGORY_OF_FOLDER if kind.ending else {}
        told = [of_folder[part] for part in folder.absolute().parts if part in of_folder]
        if not kind.of_people and (told or self.of_people):
            return ["any"]
        return told[-1:] or self.categories


def greyed(photo: Image.Image, mask: Image.Image) -> Image.Image:
    """The photo (RGB) with grey where the mask is not 0."""
    return Image.composite(Image.new("RGB", photo.size, (GREY,) * 3), photo, mask)


def _filled_in(file: str, photo: Path) -> Path:
    """The path of a photo's file."""
    return Path(file).parent / photo.parent / Path(file).name.format(name=photo.name, stem=photo.stem)


def picture(image: Image.Image, suffix: str) -> bytes:
    """A photo or mask as a file. Raises PhotoError where it is larger than its format can have it."""
    if WRITERS[suffix.lower()] == "JPEG":
        return jpeg(image, quality=100 if image.mode == "L" else 95)
    return image_file(image, WRITERS[suffix.lower()])
