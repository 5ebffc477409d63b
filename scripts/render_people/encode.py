"""From rendered pictures to files: label maps, backdrops from photographs, and a camera's faults."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from data.photos.open import open_photo
from scripts.render_people.garments import ONE_PIECE
from utils.label_values import SOME_CLOTHES

CODE_HEIGHTS = (-8.5, 8.5)  # heights on the base mesh, in decimetres, that blue 0 and 255 stand for
TORSO, LEGS = 2.2, -1.2  # above and below these a one-piece garment must be seen to be told from top, skirt, trousers
SEEN = 0.02  # least share of a garment's pixels that counts as seen, and least count
LEAST_PIXELS = 8


def label_map(codes: np.ndarray, by_category: dict[int, int]) -> np.ndarray:
    """Label values (H x W uint8) from a code picture (H x W x 3 uint8: category + 1, garment, height).

    A one-piece garment that is not seen both above the waist and below the hips gets SOME_CLOTHES: nobody can tell a
    dress from a top where its lower part is out of the picture.
    """
    table = np.zeros(256, np.uint8)
    for category, value in by_category.items():
        table[category + 1] = value
    labels = table[codes[..., 0]]
    low, high = CODE_HEIGHTS
    heights = low + codes[..., 2] / 255 * (high - low)
    for number in np.unique(codes[..., 1]):
        one_piece = (codes[..., 1] == number) & np.isin(codes[..., 0], [c + 1 for c in ONE_PIECE]) & (labels > 0)
        least = max(LEAST_PIXELS, SEEN * one_piece.sum())
        if min((heights[one_piece] > TORSO).sum(), (heights[one_piece] < LEGS).sum()) < least:
            labels[one_piece] = SOME_CLOTHES
    return labels


def cropped_backdrop(path: Path, size: tuple[int, int], backdrop: dict) -> np.ndarray:
    """Part of a photograph (H x W x 3), as large as the picture."""
    height, width = size
    image = open_photo(path)
    scale = min(image.height / height, image.width / width) * backdrop["zoom"]
    wide, tall = int(width * scale), int(height * scale)
    x = int((image.width - wide) * (backdrop["photo"] * 97 % 1))
    y = int((image.height - tall) * (0.3 + 0.7 * (backdrop["photo"] * 31 % 1)))
    image = image.crop((x, y, x + wide, y + tall)).resize((width, height), Image.Resampling.BICUBIC)
    if backdrop["flip"]:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(backdrop["blur"])))


def jpeg(photo: np.ndarray, effects: dict) -> bytes:
    """The photograph (H x W x 3 uint8) as a camera with faults would have written it: JPEG bytes of the same size."""
    rng = np.random.default_rng(effects["seed"])
    height, width = photo.shape[:2]
    image = Image.fromarray(photo)
    if effects["blur"]:
        image = image.filter(ImageFilter.GaussianBlur(effects["blur"]))
    if effects["shrink"] < 1:
        small = (max(1, int(width * effects["shrink"])), max(1, int(height * effects["shrink"])))
        image = image.resize(small, Image.Resampling.BILINEAR).resize((width, height), Image.Resampling.BICUBIC)
    values = np.asarray(image).astype(np.float32) / 255
    if effects["motion"]:
        reach = effects["motion"] // 2  # to either side: the labels stay where they are
        values = np.mean([np.roll(values, step, axis=1) for step in range(-reach, reach + 1)], 0)
    grey = values.mean(2, keepdims=True)
    values = grey + (values - grey) * effects["saturation"]
    values = values * effects["dark"] * [1 + effects["warmth"], 1, 1 - effects["warmth"]]
    if effects["vignette"]:
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        values = values * (1 - effects["vignette"] * (x**2 + y**2) / 2)[..., None]
    values = np.clip(values, 0, 1) ** effects["gamma"]
    noise = effects["noise"] * (1.5 - effects["dark"])
    coarse = np.asarray(
        Image.fromarray(rng.normal(0, 1, (height // 2 + 1, width // 2 + 1)).astype(np.float32)).resize((width, height))
    )
    values = values + noise * (rng.normal(0, 0.7, values.shape) + coarse[..., None] * 0.7)
    result = io.BytesIO()
    Image.fromarray((np.clip(values, 0, 1) * 255).round().astype(np.uint8)).save(
        result, "JPEG", quality=effects["quality"]
    )
    return result.getvalue()
