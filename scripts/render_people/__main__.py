"""Rendered people with exact labels, to train and test with: python -m scripts.render_people (see --help).

Writes photos/*.jpg, labels/*.png and rendered.csv into --output_dir, which train.py reads as they are:
``train.py --df_path OUT/labels --image_folder OUT/photos``. The same seed makes the same pictures. A run that was
interrupted goes on where it stopped, and several processes share the work with ``--shard 1/2`` and ``--shard 2/2``.
Needs Python 3.11 and ``pip install bpy==4.2.0 numpy pillow tqdm pyyaml``, best in an environment of its own.
docs/rendered_people.md says where the body, clothes and hair come from.
"""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tqdm import tqdm

from data.classes import load_class_table
from data.photos.folder import find_photos, readable_photos
from options.base_options import CLASS_MAP_HELP, BaseOptions, option
from scripts.render_people.body import Assets
from scripts.render_people.encode import jpeg, label_map
from scripts.render_people.output_folder import is_done, write, write_table
from scripts.render_people.plan import plan
from utils.errors import UserError, run_program
from utils.ranks import Shard


@dataclass
class RenderOptions(BaseOptions):
    """Render people with exact labels, to train and test with."""

    output_dir: str = option(help="folder for photos, labels and rendered.csv", metavar="FOLDER")
    assets: str = option(help="folder with mpfb2 and makehuman, see docs/rendered_people.md", metavar="FOLDER")
    count: int = option(100, "number of pictures", at_least=1)
    seed: int = option(0, "pictures of other seeds are others", at_least=0)
    first: int = option(0, "number of the first picture", at_least=0)
    shard: str | None = option(None, "render every Nth picture, from the Ith on", metavar="I/N")
    backgrounds: str | None = option(None, "photos without people, for backgrounds", metavar="FOLDER")
    class_map: str | None = option(None, CLASS_MAP_HELP, metavar="FILE")
    height: int = option(384, "height of the pictures", at_least=32, at_most=4096)
    samples: int = option(16, "light paths per pixel", at_least=1)
    threads: int = option(1, "threads of this process", at_least=1)
    held_out: bool = option(
        False,
        "for validation: show only garments, hair, patterns and HDRIs that other pictures never show",
    )


def main(options: RenderOptions) -> None:
    if importlib.util.find_spec("bpy") is None:
        raise UserError("rendering needs Blender's Python package: pip install bpy==4.2.0 (with Python 3.11)")
    by_category = load_class_table(options.class_map).by_category
    folder, backgrounds = Path(options.output_dir), Path(options.backgrounds or "")
    photos = usable([backgrounds / path for path in find_photos(backgrounds)]) if options.backgrounds else []
    assets = Assets(Path(options.assets))
    from scripts.render_people.scene import Studio

    studio = Studio(assets, options.height, options.samples, options.threads, photos)
    numbers = Shard.parse(options.shard).of(range(options.first, options.first + options.count))
    plans = [plan(options.seed, number, options.held_out, bool(photos)) for number in numbers]
    classes = " ".join(f"{category}:{value}" for category, value in sorted(by_category.items()) if value)
    settings = {name: getattr(options, name) for name in ("height", "samples", "held_out")}
    settings |= {"backgrounds": len(photos), "classes": classes}
    made_with = ", ".join(f"{name} {value}" for name, value in settings.items())
    waiting = [each for each in plans if not is_done(folder, each.name, made_with)]
    for each in tqdm(waiting, "rendering", unit="picture"):
        photo, codes = studio.render(each)
        write(folder, each.name, jpeg(photo, each.effects), label_map(codes, by_category), each.row(), made_with)
    print(f"{folder / 'rendered.csv'}: {write_table(folder)} pictures")


def usable(paths: list[Path]) -> list[Path]:
    """The photos that can be read; the others are named. Raises UserError where there are none."""
    bar = tqdm(paths, "reading backgrounds", unit="photo", leave=False)
    readable = [path for path, _ in readable_photos(bar, (64, 64))]
    if not readable:
        raise UserError(f"none of the {len(paths)} photos of --backgrounds can be read")
    return readable


if __name__ == "__main__":
    run_program(main, RenderOptions.from_command_line())
