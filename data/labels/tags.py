"""Tables of tags (CSV): which garments are somewhere on a photograph."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from data.classes import ClassTable
from utils.documents import read_document
from utils.errors import UserError, one_line

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
    """The table at ``path``: columns ImageId and Tags, tags separated by spaces.

    tag_map: see load_tag_map. A photo that several rows name has the tags of all. Raises UserError.
    """
    classes_of = load_tag_map(tag_map, classes)
    try:
        table = pd.read_csv(path, usecols=COLUMNS, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"no table of tags at {path}") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"cannot read {path} as CSV: {one_line(error)}") from None
    except ValueError as error:  # pandas names the columns that usecols did not find
        raise UserError(f"{path} lacks columns, it needs {', '.join(COLUMNS)}: {error}") from None
    present: dict[str, Tensor] = {}
    for image_id, tags in table[COLUMNS].itertuples(index=False, name=None):
        found = present.setdefault(image_id, torch.arange(len(classes.names)) == 0)
        for tag in tags.split():
            found[list(classes_of.get(tag, ()))] = True
    if not present:
        raise UserError(f"{path} has no rows")
    return TagTable(present)


def load_tag_map(path: str, classes: ClassTable) -> dict[str, set[int]]:
    """The label values that each tag can mean, from a YAML file: class name -> list of tags.

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
            meanings.setdefault(tag, set()).add(classes.names.index(name))
    return meanings
