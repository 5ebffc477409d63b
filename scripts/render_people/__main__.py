"""Rendered people with exact labels, to train and test with: python -m scripts.render_people OUT (see --help).

Writes OUT/photos/*.jpg, OUT/labels/*.png and OUT/rendered.csv, which train.py reads as they are:
``train.py --df_path OUT/labels --image_folder OUT/photos``. The same seed makes the same pictures. A run that was
interrupted goes on where it stopped, and several processes share the work with ``--shard 1/2`` and ``--shard 2/2``.
Needs Python 3.11 and ``pip install bpy==4.2.0 numpy pillow tqdm pyyaml``, best in an environment of its own.
docs/rendered_people.md says where the body, clothes and hair come from.
"""

import argparse
import importlib.util
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tqdm import tqdm

from data.classes import load_class_table
from scripts.render_people import folder as output
from scripts.render_people.body import Assets
from scripts.render_people.picture import jpeg, label_map
from scripts.render_people.plan import plan
from utils.errors import UserError, run_program

PHOTOS = {".jpg", ".jpeg", ".png", ".webp"}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="render_people", description=__doc__.split(":")[0])
    parser.add_argument("folder", type=Path, metavar="OUT", help="folder for photos, labels and rendered.csv")
    parser.add_argument("--count", type=int, default=100, help="number of pictures (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="pictures of other seeds are others (%(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first picture (%(default)s)")
    parser.add_argument("--shard", default="1/1", metavar="I/N", help="render every Nth picture, from the Ith on")
    parser.add_argument("--assets", type=Path, required=True, help="folder with mpfb2 and makehuman")
    parser.add_argument("--backgrounds", type=Path, help="folder of photographs without people, for backgrounds")
    parser.add_argument("--class_map", help="YAML or JSON file of other classes, as for train.py")
    parser.add_argument("--height", type=int, default=384, help="height of the pictures (%(default)s)")
    parser.add_argument("--samples", type=int, default=16, help="light paths a pixel (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of this process (%(default)s)")
    parser.add_argument("--held_out", action="store_true", help="show only garments, hair, patterns and HDRIs that "
                        "pictures without this option never show, for validation")  # fmt: skip
    chosen = parser.parse_args()
    try:
        chosen.shard = output.parse_shard(chosen.shard)
    except ValueError:
        parser.error(f"--shard is I/N with 1 <= I <= N, for example 2/4, not {chosen.shard}")
    for name in ("count", "height", "samples", "threads"):
        if getattr(chosen, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return chosen


def main(chosen: argparse.Namespace) -> int:
    if importlib.util.find_spec("bpy") is None:
        raise UserError("rendering needs Blender's Python package: pip install bpy==4.2.0 (with Python 3.11)")
    by_category = load_class_table(chosen.class_map).by_category
    photos = []
    if chosen.backgrounds:
        photos = sorted(p for p in chosen.backgrounds.rglob("*") if p.suffix.lower() in PHOTOS)
        if not photos:
            raise UserError(f"there are no photographs in {chosen.backgrounds}; set --backgrounds to a folder of them")
    assets = Assets(chosen.assets)
    from scripts.render_people.scene import Studio

    studio = Studio(assets, chosen.height, chosen.samples, chosen.threads, photos)
    numbers = range(chosen.first, chosen.first + chosen.count)
    names = [f"{chosen.seed}_{number:05d}" for number in numbers]
    for index in tqdm(output.to_do(chosen.folder, names, chosen.shard), "rendering", unit="picture"):
        wanted = plan(chosen.seed, numbers[index], chosen.held_out, bool(photos))
        photo, codes = studio.render(wanted)
        labels = label_map(codes, by_category)
        output.write(chosen.folder, wanted.name, jpeg(photo, wanted.effects), labels, wanted.row())
    print(f"{chosen.folder / 'rendered.csv'}: {output.write_table(chosen.folder)} pictures")
    return 0


if __name__ == "__main__":
    run_program(main, options())
