"""Draw masks on people in all shapes side by side: python scripts/agnostic_shapes.py --image_dir PHOTOS

One row for each photo and category: the photo, then the area that a new garment gets as garment, hull and box, in grey.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from options.base_options import PredictorOptions, option


@dataclass
class ShapesOptions(PredictorOptions):
    """Draw masks on people in all shapes side by side."""

    image_dir: str = option("input_images", "folder of photos", metavar="FOLDER")
    category: list[str] = option(("upper",), "what is put on: a row for each", metavar="CLASS")
    agnostic_margin: str = option("2%", "20px, or 2%% of the person's height", metavar="MARGIN")
    pose: bool = option(True, "use the pose network of requirements-tryon.txt")
    height: int = option(320, "of the photos in the picture", at_least=32)
    output: str = option("agnostic_shapes.jpg", "the picture", metavar="FILE")


if __name__ == "__main__":
    options = ShapesOptions.from_command_line()  # before the imports that take seconds

from itertools import product

import numpy as np
from PIL import Image

from data.photos.folder import find_photos
from data.photos.open import open_photo
from data.results.formats import jpeg
from data.tryon.agnostic import SHAPES, Margin, agnostic_mask
from data.tryon.presets import greyed
from networks.pose import PoseNetwork
from networks.predictor import Predictor
from utils.errors import run_program
from utils.files import write_atomically


def main(options: ShapesOptions) -> None:
    predictor, margin = Predictor.load(**options.predictor), Margin.parse(options.agnostic_margin)
    find_joints = PoseNetwork.load() if options.pose else None
    rows = []
    for path, category in product(find_photos(Path(options.image_dir)), options.category):
        photo = open_photo(Path(options.image_dir) / path)
        result, joints = predictor(photo), find_joints(photo) if find_joints else None
        masks = (agnostic_mask(result, category, shape, margin, joints) for shape in SHAPES)
        panels = [photo, *(greyed(photo, Image.fromarray(mask)) for mask in masks)]
        size = (round(photo.width * options.height / photo.height), options.height)
        row = np.hstack([panel.resize(size, Image.Resampling.LANCZOS) for panel in panels])
        rows.append(Image.fromarray(row))
    sheet = Image.new("RGB", (max(row.width for row in rows), len(rows) * options.height), "white")
    for number, row in enumerate(rows):
        sheet.paste(row, (0, number * options.height))
    write_atomically(Path(options.output), jpeg(sheet, quality=85))


if __name__ == "__main__":
    run_program(main, options)
