"""Pictures for reports: label maps over photographs of any size (contact sheets: tests/programs/test_evaluate.py)."""

import numpy as np
import pytest
from PIL import Image

from utils.evaluation.pictures import PANEL, label_panel, photo_panel
from utils.label_values import UNKNOWN


def test_labels_are_drawn_in_their_colours_over_the_photo_in_grey_and_unknown_pixels_in_that_of_no_class():
    labels = np.zeros(PANEL[::-1], np.uint8)
    labels[:, :100], labels[:, 100:120], labels[:, 120:140] = 1, UNKNOWN, 3
    panel = np.asarray(label_panel(Image.new("RGB", PANEL, (200, 100, 50)), labels))
    tinted, unknown, full, bare = panel[50, [50, 110, 130, 150]]
    assert bare[0] == bare[1] == bare[2]
    assert tinted[0] > bare[0] and tinted[1] == tinted[2] < bare[1]
    assert len({tuple(colour.tolist()) for colour in (tinted, unknown, full, bare)}) == 4
    assert (panel[50, 99] == 255).all()  # the edge of what is labelled


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2000, 1500)])
def test_photographs_of_any_size_fit_into_a_panel(size):
    photo, labels = Image.new("RGB", size, "red"), np.ones(size[::-1], np.uint8)
    for panel in (photo_panel(photo), label_panel(photo, labels)):
        assert panel.mode == "RGB"
        assert 1 <= panel.width <= PANEL[0] and 1 <= panel.height <= PANEL[1]
