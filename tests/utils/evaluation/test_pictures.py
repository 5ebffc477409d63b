"""Pictures for reports: what they show, and that odd labels and names do not break them."""

import numpy as np
import pytest
from PIL import Image

from data.label_values import PALETTE, UNKNOWN
from utils.evaluation.pictures import (
    PANEL,
    Tile,
    bright,
    confusion_picture,
    contact_sheet,
    label_panel,
    photo_panel,
)

COLOURS = bright(PALETTE)


def test_bright_colours_keep_their_hue():
    assert COLOURS.shape == (256, 3)
    assert COLOURS[:4].tolist() == [[0, 0, 0], [255, 0, 0], [0, 255, 0], [255, 255, 0]]


def test_labels_are_drawn_in_their_colours_over_the_photo_in_grey_and_unknown_pixels_in_that_of_no_class():
    labels = np.zeros(PANEL[::-1], np.uint8)
    labels[:, :100], labels[:, 100:120], labels[:, 120:140] = 1, UNKNOWN, 3
    panel = np.asarray(label_panel(Image.new("RGB", PANEL, (200, 100, 50)), labels, COLOURS))
    tinted, unknown, full, bare = panel[50, [50, 110, 130, 150]]
    assert bare[0] == bare[1] == bare[2]
    assert tinted[0] > bare[0] and tinted[1] == tinted[2] < bare[1]
    assert len({tuple(colour.tolist()) for colour in (tinted, unknown, full, bare)}) == 4
    assert (panel[50, 99] == 255).all()  # the edge of what is labelled


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (37, 91), (2000, 1500)])
def test_photographs_of_any_size_fit_into_a_panel(size):
    photo, labels = Image.new("RGB", size, "red"), np.ones(size[::-1], np.uint8)
    for panel in (photo_panel(photo), label_panel(photo, labels, COLOURS)):
        assert panel.mode == "RGB"
        assert 1 <= panel.width <= PANEL[0] and 1 <= panel.height <= PANEL[1]


def test_a_contact_sheet_holds_every_tile_and_grows_with_its_rows():
    def tiles(count: int) -> list[Tile]:
        return [Tile(f"photo {i}", [Image.new("RGB", PANEL, "blue")] * 2) for i in range(count)]

    page = contact_sheet({"worst": tiles(4), "best": tiles(1), "none": []}, columns=3, legend={"upper": (255, 0, 0)})
    blue = (np.asarray(page) == (0, 0, 255)).all(2).sum()
    assert blue == 5 * 2 * PANEL[0] * PANEL[1]
    assert page.height > contact_sheet({"worst": tiles(3), "best": tiles(1), "none": []}, columns=3).height


def test_a_confusion_matrix_is_shaded_by_the_share_of_each_true_class_and_one_that_is_not_there_keeps_an_empty_row():
    right, wrong, absent = (
        np.asarray(confusion_picture(np.array(counts), ("background", "upper")))
        for counts in ([[5, 0], [0, 9]], [[5, 0], [9, 0]], [[5, 0], [0, 0]])
    )
    assert right.shape == wrong.shape and not np.array_equal(right, wrong)
    assert (absent[-60:-40, 150:200] == 255).all()  # a cell of its row
