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
    save_picture,
)

COLOURS = bright(PALETTE)


def test_bright_colours_keep_their_hue():
    assert COLOURS.shape == (256, 3)
    assert COLOURS[:4].tolist() == [[0, 0, 0], [255, 0, 0], [0, 255, 0], [255, 255, 0]]


def test_labels_are_drawn_in_their_colours_over_the_photo_in_grey():
    photo = Image.new("RGB", PANEL, (200, 100, 50))
    labels = np.zeros(PANEL[::-1], np.uint8)
    labels[:, :100] = 1
    panel = np.asarray(label_panel(photo, labels, COLOURS))
    bare, tinted = panel[50, 150], panel[50, 50]
    assert bare[0] == bare[1] == bare[2]
    assert tinted[0] > bare[0] and tinted[1] == tinted[2] < bare[1]
    assert (panel[50, 99] == 255).all()  # the edge of what is labelled


def test_unknown_pixels_are_drawn_in_the_colour_of_no_class():
    photo, labels = Image.new("RGB", PANEL), np.zeros(PANEL[::-1], np.uint8)
    labels[:, :50], labels[:, 50:100] = UNKNOWN, 3
    panel = np.asarray(label_panel(photo, labels, COLOURS))
    seen = {tuple(panel[50, x].tolist()) for x in (25, 75, 150)}
    assert len(seen) == 3


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


def test_a_confusion_matrix_is_shaded_by_the_share_of_each_true_class():
    right, wrong = (
        np.asarray(confusion_picture(counts, ("background", "upper")).convert("L"))
        for counts in (np.array([[5, 0], [0, 9]]), np.array([[5, 0], [9, 0]]))
    )
    assert right.shape == wrong.shape
    assert not np.array_equal(right, wrong)


def test_a_class_that_the_truth_does_not_have_keeps_an_empty_row():
    picture = np.asarray(confusion_picture(np.array([[5, 0], [0, 0]]), ("background", "upper")))
    cell = picture[-60:-40, 150:200]  # in its row
    assert (cell == 255).all()


def test_pictures_are_saved_whole(tmp_path):
    save_picture(Image.new("RGB", (3, 2), "red"), tmp_path / "deep" / "picture.png")
    assert Image.open(tmp_path / "deep" / "picture.png").size == (3, 2)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["picture.png"]
