"""Draw masks on people in all shapes side by side: python scripts/agnostic_shapes.py --image_dir PHOTOS

One row for each photo and category: the photo, then the area that a new garment gets as garment, hull and box, in grey.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from options.base_options import PredictorOptions, check_categories, option
from utils.errors import UserError, run_program


@dataclass
class ShapesOptions(PredictorOptions):
    """Draw masks on people in all shapes side by side."""

    image_dir: str = option("input_images", "folder of photos", metavar="FOLDER")
    category: list[str] = option(("upper",), "what is put on: a row for each", metavar="CLASS")
    agnostic_margin: str = option("2%", "20px, or 2%% of the person's height", metavar="MARGIN")
    pose: bool = option(True, "use the pose network of requirements-tryon.txt")
    height: int = option(320, "of the photos in the picture", at_least=32)
    output: str = option("agnostic_shapes.jpg", "the picture", metavar="FILE.jpg")

    def resolve(self) -> "ShapesOptions":
        super().resolve()
        if Path(self.output).suffix.lower() not in (".jpg", ".jpeg"):
            raise UserError(f"--output {self.output}: the picture is a JPEG; name it .jpg")
        return self


if __name__ == "__main__":
    options = ShapesOptions.from_command_line()  # before the imports that take seconds

import numpy as np
from PIL import Image

from data.photos.folder import find_photos, readable_photos
from data.results.formats import jpeg
from data.tryon.agnostic import SHAPES, Margin, agnostic_mask
from data.tryon.presets import greyed
from networks.pose import PoseNetwork
from networks.predictor import Predictor
from utils.files import say_replaced, write_atomically


def main(options: ShapesOptions) -> int:
    folder, output = Path(options.image_dir), Path(options.output)
    paths = [folder / path for path in find_photos(folder)]
    if output.resolve() in {path.resolve() for path in paths}:
        raise UserError(f"the picture would replace the photograph {output}; choose another --output")
    predictor, margin = Predictor.load(**options.predictor), Margin.parse(options.agnostic_margin)
    check_categories(options.category, predictor.class_names)
    find_joints = PoseNetwork.load() if options.pose else None
    rows, opened = [], 0
    for _, photo in readable_photos(paths):
        opened += 1
        result, joints = predictor(photo), find_joints(photo) if find_joints else None
        size = (max(1, round(photo.width * options.height / photo.height)), options.height)
        for category in options.category:
            masks = (agnostic_mask(result, category, shape, margin, joints) for shape in SHAPES)
            panels = [photo, *(greyed(photo, Image.fromarray(mask)) for mask in masks)]
            row = np.hstack([panel.resize(size, Image.Resampling.LANCZOS) for panel in panels])
            rows.append(Image.fromarray(row))
    if not rows:
        raise UserError(f"none of the {len(paths)} photos of --image_dir can be read")
    sheet = Image.new("RGB", (max(row.width for row in rows), len(rows) * options.height), "white")
    for number, row in enumerate(rows):
        sheet.paste(row, (0, number * options.height))
    say_replaced([output])
    write_atomically(output, jpeg(sheet, quality=85))
    print(f"wrote {output}")
    return 1 if opened < len(paths) else 0


if __name__ == "__main__":
    run_program(main, options)
