"""The colours of label maps."""

from data.label_values import PALETTE


def test_palette_starts_with_the_published_colours_and_repeats_none():
    assert PALETTE[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert PALETTE.shape == (256, 3) and len({tuple(colour) for colour in PALETTE.tolist()}) == 256
