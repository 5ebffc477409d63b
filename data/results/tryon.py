"""Files that virtual try-on programs read, with the names they look for. docs/tryon.md says who reads what."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data.results.formats import binary_image, encoded, jpeg, png
from data.results.postprocess import Postprocess
from data.results.segmentation import Segmentation
from utils.errors import UserError

GREY = 128  # Pillow's "gray", in which VITON-HD draws
# The classes whose place a new garment takes: those that cover the same part of the body.
REPLACED = {"upper": ("upper", "full"), "lower": ("lower", "full"), "full": ("upper", "lower", "full")}


@dataclass(frozen=True)
class Margin:
    """How far a mask to inpaint reaches beyond the clothes: pixels, or per cent of the person's height, which is
    measured from the highest to the lowest pixel of clothes."""

    amount: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> "Margin":
        """Margin of a text such as 20px or 2%. Raises UserError."""
        found = re.fullmatch(r"([0-9]{1,5}(?:\.[0-9]+)?)(px|%)", text)
        if not found:
            raise UserError(f"{text} is not a margin; write pixels as 20px, or a share of the person's height as 2%")
        return cls(float(found[1]), found[2])

    def pixels(self, labels: np.ndarray) -> int:
        """Its width on a photograph with these labels (H x W uint8)."""
        if self.unit == "px":
            return round(self.amount)
        *_, height = cv2.boundingRect((labels > 0).astype(np.uint8))
        return round(self.amount / 100 * height)


def to_inpaint(segmentation: Segmentation, category: str, margin: Margin) -> Segmentation:
    """The same with labels only where a new garment of ``category`` needs room, the margin included.

    The margin takes from the background alone, and from that only what is nearer to the garment than to clothes that
    stay. 'any' takes all clothes, and so does 'full'.
    """
    replaced = segmentation.class_names[1:] if category == "any" else REPLACED.get(category, (category,))
    values = [value for value, name in enumerate(segmentation.class_names) if value and name in replaced]
    grown = Postprocess(grow=margin.pixels(segmentation.labels))(segmentation)
    return grown.with_labels(np.where(np.isin(grown.labels, values), grown.labels, np.uint8(0)))


def greyed_image(area: Segmentation) -> Image.Image:
    """The photo (RGB) with grey where there are labels."""
    return Image.composite(Image.new("RGB", area.photo.size, (GREY,) * 3), area.photo, binary_image(area))


@dataclass(frozen=True)
class Preset:
    """What infer.py writes of each photograph in place of an OutputLayout.

    select: of a segmentation and a category, labels on what the files show. files: what makes their bytes of that, by
    path below the data set's folder, {} standing for the photo's name. needs_photo: whether they show the photo.
    """

    categories: list[str]
    select: Callable[[Segmentation, str], Segmentation]
    files: dict[str, Callable[[Segmentation], bytes]]
    needs_photo: bool = False

    def paths(self, folder: Path, name: Path) -> dict[tuple[str, str], Path]:
        """As OutputLayout's; several categories have a data set each, in folders of their names."""
        return {
            (file, category): folder / (category if len(self.categories) > 1 else "") / file.format(name)
            for category in self.categories
            for file in self.files
        }

    def encoder(self, result: Segmentation) -> Callable[[str, str], bytes]:
        """As OutputLayout's; other formats than the preset's own are those of --outputs."""
        select = cache(partial(self.select, result))

        def encode(file: str, category: str) -> bytes:
            return self.files[file](select(category)) if file in self.files else encoded(result.only(category), file)

        return encode


def viton(categories: list[str]) -> Preset:
    """VITON-HD's masks of garments."""
    # A JPEG, as the loaders look for its name; at this quality all values are within 1 of 0 or 255.
    files = {"cloth-mask/{}.jpg": lambda garment: jpeg(binary_image(garment), quality=100)}
    return Preset(categories, Segmentation.only, files)


def agnostic(categories: list[str], margin: Margin) -> Preset:
    """Masks to inpaint on people, and greyed photographs."""
    files = {
        "agnostic-mask/{}_mask.png": lambda area: png(binary_image(area)),
        "agnostic-v3.2/{}.jpg": lambda area: jpeg(greyed_image(area), quality=95),
    }
    return Preset(categories, partial(to_inpaint, margin=margin), files, needs_photo=True)
