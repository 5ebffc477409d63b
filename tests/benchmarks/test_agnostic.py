"""The benchmark of agnostic masks counts what it says."""

import numpy as np
import pytest

from benchmarks.agnostic import COLUMNS, measure, measured_areas
from tests.data.tryon.test_agnostic import FULL, JOINTS, LOWER, NAMES, ROW, TWO_PIECES, UPPER, dressed


@pytest.mark.parametrize("category", ["upper", "lower", "full"])
def test_masks_that_are_known(category):
    labels = TWO_PIECES.labels
    areas = dict(measured_areas(labels, NAMES, JOINTS))[category]
    old = np.isin(labels, {"upper": UPPER, "lower": LOWER, "full": (UPPER, LOWER)}[category])
    assert np.array_equal(areas["old"], old)
    exact, nothing, everything = (dict(measure(mask, areas)) for mask in (old, old & False, old | True))
    assert (exact["old"], exact["leak"], exact.get("kept", 0), exact["arms"]) == (0, 1, 0, 0)
    assert (nothing["old"], nothing["mask"], everything["old"], everything["hands"]) == (1, 0, 0, 1)
    assert set(everything) | {"over", "kept"} == set(COLUMNS)
    half = dict(measure(old & (ROW < 200), areas))
    assert half["old"] == pytest.approx((old & (ROW >= 200)).sum() / old.sum())


def test_a_short_coat_is_old_for_trousers_by_its_class_alone():
    coat = dressed((FULL, 95, 195, 65, 135), (LOWER, 195, 340, 80, 120)).labels
    areas = dict(measured_areas(coat, NAMES, JOINTS))["lower"]
    assert np.array_equal(areas["old"], coat == LOWER)
    assert np.array_equal(areas["strict"], coat > 0)
    assert np.array_equal(areas["kept"], coat == FULL)
