"""Make samples.md and its pictures anew: python scripts/make_samples.py

Segments the photographs that docs/samples/sources.csv names, writes photo, overlay and mask of each into docs/samples/,
and compares the mask with the label map in docs/samples/labels/.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from options.base_options import PredictorOptions


@dataclass
class SamplesOptions(PredictorOptions):
    """Make samples.md and its pictures anew."""


if __name__ == "__main__":
    options = SamplesOptions.from_command_line()  # before the imports that take seconds

import csv

import numpy as np
from PIL import Image

from data.results.formats import jpeg, overlay_image
from networks.predictor import Predictor
from networks.weights.info import INCLUDED_WEIGHTS
from utils.errors import run_program
from utils.files import write_atomically

SAMPLES = Path("docs/samples")
SIZE = (960, 320)  # of the largest picture: width, height
RIGHT = 0.8  # least IoU of what counts as right
FALSE_ALARM = 0.01  # share of a photo without clothes that may be called clothes
INTRODUCTION = f"""# Samples

What {{weights}} find on {{count}} pictures: photo, photo with coloured classes, mask. Upper body is red,
lower body green, full body yellow. `python scripts/make_samples.py` makes this page and its pictures.

A mask counts as right if the mean IoU of the classes in the label map ([docs/samples/labels](docs/samples/labels))
is at least {RIGHT}. If there are no clothes, at most {100 * FALSE_ALARM:g} % of the photo may be called clothes.
The label maps of single garments were made with a saliency network and checked; those of photographed people were drawn
by hand and are not exact; those of rendered people are exact. None of these pictures was trained on. But the single
garments are from the data set that the recipes train on, and among the 150 with which weights were chosen; and the
rendered people come from the renderer that made training pictures, in other garments. Expect less on your own photos.
"""


def main(options: SamplesOptions) -> None:
    predictor = Predictor.load(**options.predictor)
    sections: dict[bool, list[str]] = {True: [], False: []}
    sources = read_sources()
    for source in sources:
        photo = Path(source["photo"])
        result = predictor(ROOT / photo)
        with Image.open(ROOT / SAMPLES / "labels" / f"{photo.stem}.png") as label:
            right, verdict = compare(result.labels, np.asarray(label), result.class_names)
        picture = SAMPLES / photo.name
        overlay = overlay_image(result)
        overlay.thumbnail(SIZE, Image.Resampling.LANCZOS)
        write_atomically(ROOT / picture, jpeg(overlay, quality=85))
        sections[right].append(f"**{source['shows']}**: {verdict}\n\n![{source['shows']}]({picture.as_posix()})\n")
    included = options.checkpoint_path == str(INCLUDED_WEIGHTS)
    weights = "the included weights" if included else f"the weights of {Path(options.checkpoint_path).name}"
    credits = "\n".join(f"| [{s['photo']}]({s['photo']}) | {s['source']} | {s['rights']} |" for s in sources)
    page = "\n".join(
        [
            INTRODUCTION.format(count=len(sources), weights=weights),
            f"## Right: {len(sections[True])}\n", *sections[True],
            f"## Failures: {len(sections[False])}\n", *sections[False],
            f"## Sources\n\n| file | source | rights |\n|---|---|---|\n{credits}\n",
        ]
    )  # fmt: skip
    write_atomically(ROOT / "samples.md", page.encode())
    print(f"samples.md: {len(sections[True])} right, {len(sections[False])} failures ({predictor.name})")


def read_sources() -> list[dict[str, str]]:
    """Rows of docs/samples/sources.csv."""
    with (ROOT / SAMPLES / "sources.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def compare(found: np.ndarray, truth: np.ndarray, class_names: tuple[str, ...]) -> tuple[bool, str]:
    """(whether the mask is right, what to say of it) of two label maps, H x W uint8."""
    told = f"Found: {shares_of(found, class_names)}."
    present = [value for value in range(1, len(class_names)) if (truth == value).any()]
    if not present:
        return np.mean(found > 0) <= FALSE_ALARM, f"no clothes. {told}"
    iou = np.mean([((found == v) & (truth == v)).sum() / ((found == v) | (truth == v)).sum() for v in present])
    return iou >= RIGHT, f"{shares_of(truth, class_names)} of the photo. {told} IoU {iou:.2f}."


def shares_of(labels: np.ndarray, class_names: tuple[str, ...]) -> str:
    shares = 100 * np.bincount(labels.ravel(), minlength=len(class_names)) / labels.size
    clothes = [f"{name} {share:.1f} %" for name, share in zip(class_names[1:], shares[1:], strict=True) if share]
    return ", ".join(clothes) or "no clothes"


if __name__ == "__main__":
    run_program(main, options)
