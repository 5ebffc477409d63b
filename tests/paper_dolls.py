"""A small data set in iMaterialist format, drawn on the spot: paper dolls in tops, trousers and dresses."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from data.rle import encode_rle

TOP, TROUSERS, DRESS, SHOE = 1, 6, 10, 23  # iMaterialist category ids


def draw_doll(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """A doll: (photo H x W x 3 uint8, mask H x W bool by category id). Clothes have colours of their own class."""
    photo = rng.integers(150, 256, (height, width, 3), dtype=np.uint8)
    y, x = np.mgrid[:height, :width]
    centre = width * rng.uniform(0.4, 0.6)

    def box(top: float, bottom: float, half: float) -> np.ndarray:
        return (y >= top * height) & (y < bottom * height) & (abs(x - centre) < half * width)

    if rng.random() < 0.5:
        masks = {TOP: box(0.25, 0.5, 0.2), TROUSERS: box(0.5, 0.9, 0.15)}
    else:
        masks = {DRESS: box(0.25, 0.8, 0.22)}
    masks[SHOE] = box(0.92, 0.97, 0.15)
    colours = {TOP: (180, 40, 40), TROUSERS: (40, 60, 160), DRESS: (60, 150, 60), SHOE: (20, 20, 20)}
    for category, mask in masks.items():
        shade = np.array(colours[category]) + rng.integers(-15, 16, (height, width, 3))
        photo[mask] = shade.clip(0, 255).astype(np.uint8)[mask]
    return photo, masks


def make_paper_dolls(folder: Path, photos: int = 12, seed: int = 0) -> tuple[Path, Path]:
    """Write ``photos`` JPEGs and their table below ``folder``; returns (image folder, CSV path)."""
    rng = np.random.default_rng(seed)
    image_folder, df_path = folder / "dolls", folder / "dolls.csv"
    image_folder.mkdir(parents=True)
    with df_path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ImageId", "EncodedPixels", "Height", "Width", "ClassId"])
        for i in range(photos):
            height, width = int(rng.integers(90, 140)), int(rng.integers(60, 100))
            photo, masks = draw_doll(rng, height, width)
            Image.fromarray(photo).save(image_folder / f"doll{i:03}.jpg", quality=92)
            for category, mask in masks.items():
                writer.writerow([f"doll{i:03}.jpg", encode_rle(mask), height, width, category])
    return image_folder, df_path
