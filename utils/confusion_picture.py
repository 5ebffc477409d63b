"""A confusion matrix as a picture."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL, MARGIN = 110, 130
DEEP = np.array((20, 70, 140))  # a share of 1; 0 is white


def confusion_picture(counts: np.ndarray, names: tuple[str, ...]) -> Image.Image:
    """Cells shaded by, and showing, the share of each true class's pixels (rows) that went to each class (columns).

    counts: C x C pixels. A class that the truth does not have keeps an empty row.
    """
    total = counts.sum(1, keepdims=True)
    share = counts / np.maximum(total, 1)
    side = MARGIN + len(names) * CELL
    picture = Image.new("RGB", (side + 20, side + 20), "white")
    draw = ImageDraw.Draw(picture)
    large, small = ImageFont.load_default(22), ImageFont.load_default(16)
    draw.text((MARGIN + len(names) * CELL / 2, 30), "prediction", "black", large, anchor="mm")
    draw.text((12, MARGIN - 26), "truth", "black", large, anchor="lm")
    for i, name in enumerate(names):
        along = MARGIN + i * CELL + CELL / 2
        draw.text((along, MARGIN - 26), name, "black", small, anchor="mm")
        draw.text((MARGIN - 12, along), name, "black", small, anchor="rm")
        for j in range(len(names)):
            x, y = MARGIN + j * CELL, MARGIN + i * CELL
            shade = tuple((255 + share[i, j] * (DEEP - 255)).astype(int))
            draw.rectangle((x, y, x + CELL, y + CELL), shade, "lightgrey")
            if total[i]:
                ink = "white" if share[i, j] > 0.5 else "black"
                draw.text((x + CELL / 2, y + CELL / 2), f"{100 * share[i, j]:.1f} %", ink, large, anchor="mm")
    return picture
