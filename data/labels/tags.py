"""Tables of tags (CSV): which garments are somewhere on a photograph."""

import re

import torch
from torch import Tensor

from data.classes import ClassTable, folded
from data.labels.csv_rows import read_rows
from data.photos.folder import name_key
from utils.documents import read_document
from utils.errors import UserError

COLUMNS = ["ImageId", "Tags"]


def read_tags(path: str, classes: ClassTable, tag_map: str) -> dict[str, Tensor]:
    """The classes that each photograph can contain, background always: C bool, by the image id's name_key.

    The table at ``path`` has the columns ImageId and Tags; tags are separated by spaces or commas, in any case. A photo
    that several rows name has the tags of all; one without a row can contain every class. tag_map: see load_tag_map.
    Raises UserError.
    """
    classes_of = load_tag_map(tag_map, classes)
    present: dict[str, Tensor] = {}
    for number, (cells, surplus) in enumerate(read_rows(path, COLUMNS, "table of tags"), 1):
        if None in cells or surplus > 0:
            words = "more cells than the header; put tags with commas in quotes" if surplus > 0 else "too few cells"
            raise UserError(f"{path}: row {number} has {words}")
        image_id, tags = cells
        found = present.setdefault(name_key(image_id), torch.arange(len(classes.names)) == 0)
        for tag in re.split(r"[\s,;]+", tags):
            found[list(classes_of.get(folded(tag), ()))] = True
    if not present:
        raise UserError(f"{path} has no rows")
    if not any(found[1:].any() for found in present.values()):
        raise UserError(f"no tag of {path} stands in the tag map {tag_map}; do they use the same words?")
    return present


def count_tagged(tags: dict[str, Tensor], image_ids: list[str], path: str) -> int:
    """How many of the photos have tags. Raises UserError where none has. path: of the table."""
    tagged = sum(name_key(image_id) in tags for image_id in image_ids)
    if image_ids and not tagged:
        raise UserError(
            f"{path} has no tags for any of the photos: it has names like {next(iter(tags))}, "
            f"the photos are named like {image_ids[0]}"
        )
    return tagged


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
