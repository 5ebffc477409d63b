"""Pictures for reports: label maps drawn over their photographs, contact sheets, a confusion matrix."""

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from utils.label_values import PALETTE

PANEL = (220, 330)  # width, height a picture is fitted into
GAP = 8
CAPTION, TITLE = 15, 22  # text sizes
CELL, MARGIN = 110, 130  # of a confusion matrix
DEEP = np.array((20, 70, 140))  # a share of 1; 0 is white
TINT = 0.55  # of the class colour over the photo
# The hues of the label palette at full brightness, to be seen over a photograph: 256 x 3 uint8 RGB by label.
COLOURS = (PALETTE.astype(int) * 255 // np.maximum(PALETTE.max(1, keepdims=True), 1)).astype(np.uint8)


@dataclass
class Tile:
    """Pictures that belong together, side by side, under one caption."""

    caption: str
    panels: list[Image.Image]


def photo_panel(photo: Image.Image) -> Image.Image:
    """The photograph fitted into a panel."""
    scale = min(PANEL[0] / photo.width, PANEL[1] / photo.height)
    # A photo of one row or column keeps it.
    return photo.resize([max(1, round(scale * side)) for side in photo.size], Image.Resampling.LANCZOS)


def label_panel(photo: Image.Image, labels: np.ndarray) -> Image.Image:
    """The photograph in grey under its labels' colours, fitted into a panel.

    labels: H x W uint8 of the photo's size; 0 is left bare, UNKNOWN has a colour of its own.
    """
    small = photo_panel(photo)
    labels = cv2.resize(labels, small.size, interpolation=cv2.INTER_NEAREST_EXACT)
    grey = np.asarray(small.convert("L").convert("RGB"), np.float32)
    tinted = grey + TINT * (COLOURS[labels] - grey)
    edge = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    tinted[edge] = 255
    return Image.fromarray(np.where(labels[..., None] > 0, tinted, grey).astype(np.uint8))


def contact_sheet(sections: dict[str, list[Tile]], columns: int, legend: dict[int, str] | None = None) -> Image.Image:
    """One page: the legend's colours, then each section's title and its tiles in rows of ``columns``.

    Every tile has as many panels as the first one. legend: names of label values.
    """
    panels = max((len(tile.panels) for tiles in sections.values() for tile in tiles), default=1)
    cell_width = panels * (PANEL[0] + 2) + GAP
    cell_height = PANEL[1] + CAPTION + 2 * GAP
    heading = TITLE + 2 * GAP
    rows = {title: -(-len(tiles) // columns) for title, tiles in sections.items()}
    height = (heading if legend else 0) + sum(heading + n * cell_height for n in rows.values()) + GAP
    page = Image.new("RGB", (columns * cell_width + GAP, height), "white")
    draw = ImageDraw.Draw(page)
    y = GAP
    if legend:
        _draw_legend(draw, legend, y)
        y += heading
    for title, tiles in sections.items():
        draw.text((GAP, y), title, "black", ImageFont.load_default(TITLE))
        y += heading
        for i, tile in enumerate(tiles):
            left, top = GAP + i % columns * cell_width, y + i // columns * cell_height
            draw.text((left, top), tile.caption, "black", ImageFont.load_default(CAPTION))
            for j, panel in enumerate(tile.panels):
                page.paste(panel, (left + j * (PANEL[0] + 2), top + CAPTION + GAP // 2))
        y += rows[title] * cell_height
    return page


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


def _draw_legend(draw: ImageDraw.ImageDraw, legend: dict[int, str], y: int) -> None:
    font, x = ImageFont.load_default(CAPTION), GAP
    for value, name in legend.items():
        draw.rectangle((x, y, x + CAPTION, y + CAPTION), tuple(COLOURS[value].tolist()), "black")
        draw.text((x + CAPTION + GAP, y - 2), name, "black", font)
        x += CAPTION + int(font.getlength(name)) + 4 * GAP
