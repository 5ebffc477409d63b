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

What {{weights}} make of {{count}} pictures: photo, photo under the colours, mask. Upper body is red, lower
body green, full body yellow. `python scripts/make_samples.py` makes this page and its pictures anew; nothing is picked
afterwards.

A mask is right if its IoU with the label map in [docs/samples/labels](docs/samples/labels) is at least {RIGHT}, in
the mean of the classes that are there; where there are no clothes, if at most {100 * FALSE_ALARM:g} % of the photo is
called clothes. The label maps of single garments were made with a saliency network and looked at, those of
photographed people were drawn by hand: about right, not exact. Those of rendered people are exact. None of these
pictures was trained on. The single garments are of the data set that the recipes train on, and among the 150 with
which weights were chosen; the rendered people wear garments that the training never saw, but come from the same
renderer. So expect a little less on your own photos.
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
