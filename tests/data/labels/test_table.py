"""Packed labels: which rows are used, precedence of classes, any size, and memory that loader workers share."""

from collections import Counter
from itertools import permutations
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest

from data.labels.photo_finder import Fit, FoundPhoto
from data.labels.rle import encode_rle, parse_rle, sample_positions
from data.labels.table import LabelTable, TableRow
from utils.errors import UserError

SIZE = (40, 30)


def rows(top: int, bottom: int) -> np.ndarray:
    """Runs of the rows ``top`` to ``bottom`` of a 40 x 30 photo."""
    mask = np.zeros(SIZE, bool)
    mask[top:bottom] = True
    return parse_rle(encode_rle(mask), *SIZE)


def table_of(*masks_of_photo: list) -> LabelTable:
    return LabelTable.pack((Path(f"{i}.jpg"), SIZE, masks) for i, masks in enumerate(masks_of_photo))


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_first_class_of_the_table_wins_whatever_the_order_of_the_masks(order):
    masks = [(1, rows(0, 10)), (2, rows(5, 20)), (3, rows(0, 40))]
    label = table_of([masks[i] for i in order]).label_map(0)
    assert (label.shape, label.dtype) == (SIZE, np.uint8)
    assert label[:, 0].tolist() == [1] * 10 + [2] * 10 + [3] * 20


@pytest.mark.parametrize("size", [(40, 30), (7, 90), (1, 1), (64, 48)])
def test_a_label_map_of_any_size_is_the_stored_one_sampled_nearest(size):
    table = table_of([(2, rows(3, 21)), (1, rows(20, 33))])
    index = np.ix_(sample_positions(40, size[0]), sample_positions(30, size[1]))
    assert np.array_equal(table.label_map(0, size), table.label_map(0)[index])


def test_photos_keep_their_own_masks():
    first, second = [(1, rows(0, 10)), (1, rows(30, 40)), (3, rows(5, 12))], [(2, rows(9, 17))]
    table = table_of([], first, [], second, [])
    assert len(table) == 5 and table.size(3) == SIZE
    assert [[value for value, _ in table.class_masks(photo)] for photo in range(5)] == [[], [1, 3], [], [2], []]
    assert np.array_equal(table.class_masks(1)[0][1], np.concatenate((first[0][1], first[1][1])))
    assert np.array_equal(table.class_masks(3)[0][1], second[0][1])


# Rows of a reader


def row(number: int, name: str, top: int | None = 0, category: int = 1, fault: str | None = None, scale: int = 1):
    """A row of a photo ``name``: 10 pixel rows from ``top`` on, or with None no clothes."""
    made = TableRow(number, name, FoundPhoto(Path(name), SIZE, fault=None), fault=fault)
    if not fault:
        size = (SIZE[0] * scale, SIZE[1] * scale)
        made.label_size, made.fit = size, Fit(SIZE)
        if top is not None:
            made.category, made.runs = category, rows(top, top + 10)
    return made


class Reader:
    """Gives these rows, and counts how many were taken."""

    unit = "row"
    categories = dict(enumerate((("background", 0), ("upper", 1), ("lower", 2), ("full", 3))))

    def __init__(self, *given: TableRow, grouped: bool = False):
        self.given, self.grouped, self.taken = given, grouped, 0

    def rows(self, progress: bool):
        for self.taken, given in enumerate(self.given, 1):  # noqa: B020
            yield given

    def notes(self, masks: Counter[int]) -> list[str]:
        return ["a note"]


def classes_of(table: LabelTable) -> dict[str, list[int]]:
    """Classes of each photo by its name."""
    return {path.name: [value for value, _ in table.class_masks(i)] for i, path in enumerate(table.files)}


def test_rows_make_photos_whatever_their_order():
    reader = Reader(row(1, "a"), row(2, "b", category=2), row(3, "a", 20, category=3), row(4, "c", category=0))
    table = LabelTable.collect(reader, "the file")
    assert classes_of(table) == {"a": [1, 3], "b": [2], "c": []}  # background rows make a photo, and no mask
    assert (table.lines(), table.categories) == (["a note"], reader.categories)


def test_a_photo_has_no_clothes_only_where_nothing_else_is_said_of_it():
    table = LabelTable.collect(Reader(
        row(1, "bare", None), row(2, "both", None), row(3, "both", scale=2), row(4, "doubtful", None),
        row(5, "doubtful", fault="empty cell"), row(6, "spoiled", fault="empty cell"),  # maybe clothes
        row(7, "dressed"), row(8, "dressed", fault="odd"), row(9, "dressed", scale=2),
    ), "the file")  # fmt: skip
    assert classes_of(table) == {"bare": [], "both": [1], "dressed": [1]}
    assert table.sizes.tolist() == [[40, 30], [80, 60], [40, 30]]  # of the row with runs, where there is one
    assert table.skipped.lines() == [
        "skipped 2 row(s): empty cell (first: row 5, doubtful)",
        "skipped 1 row(s): odd (first: row 8, dressed)",
        "skipped 1 row(s): Height and Width that differ from an earlier row's (first: row 9, dressed)",
    ]


def test_nothing_usable_is_an_error_that_says_why():
    with pytest.raises(UserError, match="nothing usable in the file: skipped 1 row.*odd"):
        LabelTable.collect(Reader(row(1, "a", fault="odd")), "the file")
    with pytest.raises(UserError, match="no rows"):
        LabelTable.collect(Reader(), "the file")


@pytest.mark.parametrize(("grouped", "taken"), [(True, 4), (False, 6)])
def test_max_photos_takes_the_first_photos_and_stops_early_where_rows_are_grouped(grouped, taken):
    given = [row(1, "a"), row(2, "b", fault="odd"), row(3, "c"), row(4, "d"), row(5, "a", category=2), row(6, "e")]
    reader, seen = Reader(*given, grouped=grouped), []
    table = LabelTable.collect(reader, "the file", max_photos=2, on_row=seen.append)
    assert classes_of(table) == {"a": [1] if grouped else [1, 2], "c": [1]}
    assert (reader.taken, len(seen)) == (taken, 3 if grouped else 6)


def test_loader_workers_share_the_table():
    """A pickled tensor is a handle of shared memory; forked workers share tensors anyway, unlike Python's objects."""
    photos = 1000
    table = table_of(*[[(1, np.zeros((100, 2), np.int32))]] * photos)
    assert table.runs.nbytes == 800 * photos
    assert len(ForkingPickler.dumps(table)) < 100 * photos
