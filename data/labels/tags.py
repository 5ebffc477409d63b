"""Tables of tags (CSV): which garments are somewhere on a photograph."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from data.classes import ClassTable, folded
from data.labels.csv_rows import read_rows
from utils.documents import read_document
from utils.errors import UserError

COLUMNS = ["ImageId", "Tags"]


@dataclass
class TagTable:
    """The classes that each photograph can contain.

    present: C bool by image id, background included: it is always there.
    """

    present: dict[str, Tensor]

    def of(self, image_id: str) -> Tensor:
        """The classes that a photo can contain; all of them for a photo without a row."""
        return self.present.get(image_id, self.everything)

    def check(self, image_ids: Iterable[str], path: str) -> int:
        """How many of the photos have tags. Raises UserError where none has. path: of the table."""
        image_ids = list(image_ids)
        tagged = sum(image_id in self.present for image_id in image_ids)
        if image_ids and not tagged:
            raise UserError(
                f"{path} has no tags for any of the photos: it has names like {next(iter(self.present))}, "
                f"the photos are named like {image_ids[0]}"
            )
        return tagged

    def __post_init__(self):
        self.everything = torch.ones_like(next(iter(self.present.values())))


def read_tags(path: str, classes: ClassTable, tag_map: str) -> TagTable:
    """The table at ``path``: columns ImageId and Tags, tags separated by spaces or commas, in any case.

    tag_map: see load_tag_map. A photo that several rows name has the tags of all. Raises UserError.
    """
    classes_of = load_tag_map(tag_map, classes)
    present: dict[str, Tensor] = {}
    for number, (cells, surplus) in enumerate(read_rows(path, COLUMNS, "table of tags"), 1):
        if None in cells or surplus > 0:
            words = "more cells than the header; put tags with commas in quotes" if surplus > 0 else "too few cells"
            raise UserError(f"{path}: row {number} has {words}")
        image_id, tags = cells
        found = present.setdefault(image_id, torch.arange(len(classes.names)) == 0)
        for tag in re.split(r"[\s,;]+", tags):
            found[list(classes_of.get(folded(tag), ()))] = True
    if not present:
        raise UserError(f"{path} has no rows")
    if not any(found[1:].any() for found in present.values()):
        raise UserError(f"no tag of {path} stands in the tag map {tag_map}; do they use the same words?")
    return TagTable(present)


def load_tag_map(path: str, classes: ClassTable) -> dict[str, set[int]]:
    """The label values that each tag (folded) can mean, from a YAML file: class name -> list of tags.

    A tag may stand under several classes: a suit is jacket and trousers. Tags that stand nowhere, such as hair or bag,
    are background. Raises UserError.
    """
    content = read_document(path, "tag map")
    valid = isinstance(content, dict) and set(content) <= set(classes.clothes)
    if not valid or not all(
        isinstance(tags, list) and tags and all(isinstance(tag, str) and tag.split() == [tag] for tag in tags)
        for tags in content.values()
    ):
        raise UserError(
            f"the tag map {path} must map some of the classes {', '.join(classes.clothes)} to lists of tags without "
            "spaces, for example {upper: [shirt, suit], lower: [jeans, suit]}"
        )
    meanings: dict[str, set[int]] = {}
    for name, tags in content.items():
        for tag in tags:
            meanings.setdefault(folded(tag), set()).add(classes.names.index(name))
    return meanings
