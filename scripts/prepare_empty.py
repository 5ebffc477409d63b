"""Make pictures that show no clothes, a training source of its own: python scripts/prepare_empty.py (see --help).

A network that only ever saw people and garments finds clothes everywhere. This script writes, into one folder,

    drawn_*.jpg     patterns drawn at random: gradients, stripes, checks, clouds, noise, shapes, text
    picture_*.jpg   the pictures below the folders of --pictures, made small; each once, whatever sizes it is there in

A recipe reads it with ``no_clothes: true``. Look at the result, and delete what shows people. The same seed makes the
same patterns.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from options.base_options import BaseOptions, option


@dataclass
class PrepareEmptyOptions(BaseOptions):
    """Make pictures without clothes to train on."""

    output_dir: str = option(help="folder of the pictures, new or empty", metavar="FOLDER")
    pictures: list[str] | None = option(
        None, "folders of pictures without people, such as wallpapers", metavar="FOLDER"
    )
    drawn: int = option(160, "number of drawn patterns", at_least=0)
    side: int = option(480, "longer side of a written picture, at most", at_least=64)
    seed: int = option(0, "random seed of the patterns", at_least=0)


if __name__ == "__main__":
    options = PrepareEmptyOptions.from_command_line()  # before the imports that take seconds

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from data.photos.folder import find_photos, readable_photos
from data.results.formats import jpeg
from utils.errors import UserError, run_program
from utils.files import whole_folder, write_atomically

LEAST_SIDE = 96  # pixels: smaller pictures are icons
SAME = 3  # grey levels that two pictures differ by, seen at 8x8, up to which they are one
QUALITY = (70, 95)  # of the JPEG files
Random = np.random.Generator


def main(options: PrepareEmptyOptions) -> int:
    output, random = Path(options.output_dir), np.random.default_rng(options.seed)
    folders = map(Path, options.pictures or ())
    paths = [pictures / path for pictures in folders for path in find_photos(pictures, leave_out=output)]
    with whole_folder(options.output_dir) as folder:
        draw_patterns(options, folder, random)
        taken, failed = make_small(paths, options.side, folder, random)
        if not (options.drawn or taken):
            raise UserError(f"nothing to write: --drawn 0, and {taken} of {len(paths)} pictures")
    print(f"wrote {output}: {options.drawn} drawn patterns, {taken} of {len(paths)} pictures")
    return 1 if failed else 0


def draw_patterns(options: PrepareEmptyOptions, output: Path, random: Random) -> None:
    for number in tqdm(range(options.drawn), "drawing", unit="picture"):
        draw = PATTERNS[number % len(PATTERNS)]
        size = tuple(random.integers(options.side // 3, options.side + 1, 2).tolist())
        save(camera(draw(size, random), random), output / f"drawn_{number:04d}.jpg", random)


def make_small(paths: list[Path], side: int, output: Path, random: Random) -> tuple[int, int]:
    """Write each picture once; (how many, how many could not be read)."""
    seen, opened = [], 0
    for _, picture in readable_photos(tqdm(paths, "making small", unit="picture", disable=not paths)):
        opened += 1
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        tiny = np.asarray(picture.convert("L").resize((8, 8)), np.float32)
        if min(picture.size) < LEAST_SIDE or any(np.abs(tiny - other).mean() < SAME for other in seen):
            continue
        save(picture, output / f"picture_{len(seen):04d}.jpg", random)
        seen.append(tiny)
    return len(seen), len(paths) - opened


def save(picture: Image.Image, path: Path, random: Random) -> None:
    write_atomically(path, jpeg(picture, quality=int(random.integers(*QUALITY))))


def camera(pixels: np.ndarray, random: Random) -> Image.Image:
    """A picture (H x W x 3 or H x W x 1, 0..255), at times with noise and out of focus."""
    pixels = np.array(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), np.float32)
    if random.random() < 0.5:
        pixels += random.normal(0, random.uniform(1, 15), (*pixels.shape[:2], 1))
    if random.random() < 0.3:
        pixels = cv2.GaussianBlur(pixels, (0, 0), random.uniform(0.5, 4))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def colour(random: Random) -> np.ndarray:
    return random.uniform(0, 255, 3)


def mixed(share: np.ndarray, random: Random) -> np.ndarray:
    """Two random colours, mixed by ``share`` (H x W, 0..1)."""
    first, second = colour(random), colour(random)
    return first + (second - first) * share[..., None]


def along(size: tuple[int, int], degrees: float) -> np.ndarray:
    """How far each pixel lies in a direction: H x W, pixels."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.cos(np.radians(degrees)) * x + np.sin(np.radians(degrees)) * y


def scaled(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / np.ptp(values)


def gradient(size: tuple[int, int], random: Random) -> np.ndarray:
    return mixed(scaled(along(size, random.uniform(0, 360))), random)


def stripes(size: tuple[int, int], random: Random) -> np.ndarray:
    waves = np.sin(along(size, random.uniform(0, 360)) * 2 * np.pi / random.uniform(6, 90))
    return mixed((waves > random.uniform(-0.5, 0.5)).astype(float), random)


def checks(size: tuple[int, int], random: Random) -> np.ndarray:
    degrees, side = random.uniform(0, 360), random.uniform(10, 80)
    return mixed((along(size, degrees) // side + along(size, degrees + 90) // side) % 2, random)


def clouds(size: tuple[int, int], random: Random) -> np.ndarray:
    layers = (
        random.normal(0, 2**octave, (size[0] // 2**octave + 2, size[1] // 2**octave + 2)) for octave in range(1, 7)
    )
    return mixed(scaled(sum(cv2.resize(layer, size[::-1], interpolation=cv2.INTER_CUBIC) for layer in layers)), random)


def noise(size: tuple[int, int], random: Random) -> np.ndarray:
    return colour(random) + random.normal(0, random.uniform(5, 70), (*size, random.choice((1, 3))))


def shapes(size: tuple[int, int], random: Random) -> np.ndarray:
    picture = plain(size, random)
    pen = ImageDraw.Draw(picture)
    for _ in range(random.integers(1, 25)):
        corners = random.integers(-40, np.array(size[::-1]) + 40, (4, 2))
        if random.random() < 0.4:
            pen.polygon([tuple(corner) for corner in corners.tolist()], fill=ink(random))
        else:
            box = [*corners.min(0).tolist(), *corners.max(0).tolist()]
            (pen.ellipse if random.random() < 0.6 else pen.rectangle)(box, fill=ink(random))
    return np.asarray(picture)


def text(size: tuple[int, int], random: Random) -> np.ndarray:
    picture = plain(size, random)
    letters = random.choice(list("abcdefghijklmnopqrstuvwxyz     "), (60, 80))
    lines = "\n".join("".join(line) for line in letters)
    height = int(random.integers(9, 60))
    ImageDraw.Draw(picture).text((5, 5), lines, ink(random), ImageFont.load_default(height))
    return np.asarray(picture)


def plain(size: tuple[int, int], random: Random) -> Image.Image:
    return Image.new("RGB", size[::-1], ink(random))


def ink(random: Random) -> tuple[int, int, int]:
    return tuple(colour(random).astype(int).tolist())


PATTERNS = (gradient, stripes, checks, clouds, noise, shapes, text)


if __name__ == "__main__":
    run_program(main, options)
