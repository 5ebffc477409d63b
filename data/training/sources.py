"""The sources of a training: which photographs, how many of the samples, how far trusted, how varied.

Needs no PyTorch: options import it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from data.constants import SMALLEST_CROP
from utils.errors import UserError


@dataclass(frozen=True)
class Augmentation:
    """How samples are varied. The shares are of the samples, 0..1.

    augment: 'none' (the published recipe; the rest is ignored) or 'full' (random crop, flip, colour jitter).
    min_crop_area: share of the photo that a crop has at least. close_ups: share of small crops instead, SMALLEST_CROP
    to min_crop_area of the photo and of more varied shape. portraits: share that is cropped like a portrait.
    turns: share that is turned by any angle, for things that lie on a floor. rotations: share of the others that is
    tilted by up to 15 degrees. pastes: share that gets the garments of another photo of the source put on top.
    empty_crops: share that is cropped to hold no clothes and nothing unknown, where the photo has room for that.
    """

    augment: str = "none"
    min_crop_area: float = 0.35
    close_ups: float = 0.0
    portraits: float = 0.0
    rotations: float = 0.0
    turns: float = 0.0
    pastes: float = 0.0
    empty_crops: float = 0.0

    def check(self, where: str) -> None:
        """Raise UserError, with ``where`` in front, on values that contradict each other."""
        used = [name for name in AUGMENTATION if name != "min_crop_area" and getattr(self, name)]
        if used and self.augment == "none":
            raise UserError(f"{where}{used[0]} needs --augment full")
        if self.min_crop_area <= 0:
            raise UserError(f"{where}min_crop_area must be over 0")
        if self.close_ups and self.min_crop_area <= SMALLEST_CROP:
            raise UserError(f"{where}min_crop_area must be over {SMALLEST_CROP:g} where there are close_ups")


AUGMENTATION = tuple(item.name for item in fields(Augmentation) if item.name != "augment")


@dataclass(frozen=True)
class Source:
    """Photographs with labels, of one kind.

    df_path: label table; None where no photo shows clothes (``no_clothes: true`` in a recipe). tags, tag_map: table of
    tags, and the file that says what they mean; without them every class can be on every photo. share: of the samples,
    in any unit. trust: 0..1, of its labels. teacher_trust: 0..1, of the answers of the run's teacher, if it has one.
    """

    name: str
    image_folder: str
    df_path: str | None
    share: float = 1.0
    trust: float = 1.0
    teacher_trust: float = 1.0
    tags: str | None = None
    tag_map: str | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass(frozen=True)
class ValidationSet:
    """Photographs to measure the network on. df_path: as of Source. close_ups: head and shoulders of them alone."""

    name: str
    image_folder: str
    df_path: str | None
    close_ups: bool = False


def read_sources(content: dict, augmentation: Augmentation, root: str | None = None) -> list[Source]:
    """Sources from the mapping ``sources`` of a recipe: name -> settings.

    Settings are the fields of Source, and those of Augmentation where a source differs from ``augmentation``.
    root: where relative paths start. Raises UserError.
    """
    sources = []
    kinds = {item.name: item.type for item in fields(Source) if item.name not in ("name", "augmentation")}
    for name, where, settings in _entries(content, "sources", kinds | dict.fromkeys(AUGMENTATION, float), root):
        own = {key: float(settings.pop(key)) for key in AUGMENTATION if key in settings}
        source = Source(name, **settings, augmentation=replace(augmentation, **own))
        if source.share <= 0 or math.isinf(source.share):
            raise UserError(f"{where}: share is {source.share}, it must be over 0")
        for key, value in ({"trust": source.trust, "teacher_trust": source.teacher_trust} | own).items():
            if not 0 <= value <= 1:
                raise UserError(f"{where}: {key} is {value}, it must be in 0..1")
        if (source.tags is None) != (source.tag_map is None):
            raise UserError(f"{where}: tags and tag_map belong together")
        source.augmentation.check(f"{where}: ")
        sources.append(source)
    return sources


def read_validation_sets(content: dict, root: str | None = None) -> list[ValidationSet]:
    """Sets from the mapping ``validation`` of a recipe. root: where relative paths start. Raises UserError."""
    kinds = {item.name: item.type for item in fields(ValidationSet) if item.name != "name"}
    return [ValidationSet(name, **settings) for name, _, settings in _entries(content, "validation", kinds, root)]


def _entries(content: dict, what: str, kinds: dict[str, type], root: str | None) -> Iterator[tuple[str, str, dict]]:
    """(name, where it stands, settings) of each entry, checked.

    Paths to data lie below ``root``; the tag map belongs to the recipe, and stays. df_path is None where there are no
    clothes.
    """
    if not content or not all(isinstance(name, str) and isinstance(each, dict) for name, each in content.items()):
        raise UserError(f"{what} must map names to settings, such as street: {{image_folder: ..., df_path: ...}}")
    for name, settings in content.items():
        where = f"{what}: {name}"
        _check(settings, kinds | {"no_clothes": bool}, where)
        given = {"df_path": None} | {key: value for key, value in settings.items() if key != "no_clothes"}
        for key in ("image_folder", "df_path", "tags"):
            if given.get(key) is not None:
                given[key] = str(Path(root or "", given[key]))
        yield name, where, given


def _check(settings: dict, kinds: dict[str, type], where: str) -> None:
    for key, value in settings.items():
        if key not in kinds:
            raise UserError(f"{where}: unknown setting {key}; there are {', '.join(kinds)}")
        kind, wanted = {float: ((int, float), "a number"), bool: (bool, "true or false")}.get(kinds[key], (str, "text"))
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool) or value != value:
            raise UserError(f"{where}: {key} is {value!r}; it must be {wanted}")
    if "image_folder" not in settings:
        raise UserError(f"{where} lacks image_folder")
    labelled = sorted({"df_path", "tags"} & settings.keys())
    if settings.get("no_clothes") and labelled:
        raise UserError(f"{where}: {labelled[0]} and no_clothes exclude each other")
    if not settings.get("no_clothes") and "df_path" not in settings:
        raise UserError(f"{where} lacks df_path; or say no_clothes: true if no photo in it shows clothes")
