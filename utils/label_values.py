"""Label maps, whatever their classes: the values that are not a class, and the colour of each value."""

import numpy as np

UNKNOWN = 255  # nobody knows this pixel's class: it counts in no metric, and in no loss but the absent-class loss
SOME_CLOTHES = 254  # clothes of unknown class: in the cross-entropy, and in what takes all clothes as one class
NAMES = {SOME_CLOTHES: "clothes of unknown class", UNKNOWN: "unknown"}


def _voc_colours() -> np.ndarray:
    value = np.arange(256)[:, None]
    channel = np.arange(3)
    return sum(((value >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(8)).astype(np.uint8)


# Colour of each label value: 256 x 3 uint8, RGB. The colour map of PASCAL VOC (Everingham et al. 2010), whose first
# four are the published black, (128,0,0), (0,128,0), (128,128,0).
PALETTE = _voc_colours()
