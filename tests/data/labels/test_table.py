"""Packed labels: precedence of classes, sampling at any size, and memory that loader workers share."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.labels.rle import encode_rle, parse_rle, sample_positions
from data.labels.table import LabelTable, SkippedRows
from data.training.augmentation import TrainTransform
from data.training.sampler import Draw
from data.training.samples import TrainingPhotos
from data.training.sources import Augmentation

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
    for photo, masks in enumerate(([], first, [], second, [])):
        found = list(table.masks(photo))
        assert [value for value, _ in found] == [value for value, _ in masks]
        assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(found, masks, strict=True))
    (upper, runs), (full, _) = table.class_masks(1)
    assert (upper, full) == (1, 3)
    assert np.array_equal(runs, np.concatenate((first[0][1], first[1][1])))


def test_a_photo_without_masks_is_background():
    assert not table_of([]).label_map(0).any()
    assert len(LabelTable.pack([])) == 0


def test_skipped_rows_are_told_by_kind_with_the_first_of_each():
    skipped = SkippedRows()
    for row, kind in enumerate(("missing photo", "empty cell", "missing photo"), 5):
        skipped.add(kind, row, f"{row}.jpg")
    assert skipped.lines() == [
        "skipped 2 row(s): missing photo (first: row 5, 5.jpg)",
        "skipped 1 row(s): empty cell (first: row 6, 6.jpg)",
    ]


def private_megabytes() -> float:
    """Memory that only this process holds."""
    text = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in text if line.startswith("Private_")) / 1024


DRAWN = 4  # every so many photographs: to draw all of these takes long


def worker_memory(photos: TrainingPhotos, queue) -> None:
    for i in range(0, len(photos), DRAWN):
        photos[Draw(0, i, 0)]
    queue.put(private_megabytes())


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's smaps_rollup")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_loader_workers_share_the_table(method, tmp_path):
    photos = 100
    Image.new("RGB", (1000, 1000)).save(tmp_path / "a.jpg")
    per_photo = 150_000  # runs: 120 MB in all
    starts = torch.arange(per_photo, dtype=torch.int32) * 6
    runs = torch.stack((starts, starts + 3), 1)

    def repeated(times: int) -> LabelTable:
        return LabelTable(
            files=[tmp_path / "a.jpg"] * times,
            sizes=torch.full((times, 2), 1000, dtype=torch.int32),
            row_offsets=torch.arange(times + 1),
            class_of_row=torch.ones(times, dtype=torch.uint8),
            run_offsets=torch.arange(times + 1) * per_photo,
            runs=runs.repeat(times, 1),
            skipped=SkippedRows(),
        )

    context = torch.multiprocessing.get_context(method)
    queue = context.Queue()
    used = []
    transform = TrainTransform((32, 32), 0.5, 0.5, Augmentation())
    # Against a worker with one photo's table, which has the same modules loaded.
    for table in (repeated(photos), repeated(1)):
        worker = context.Process(target=worker_memory, args=(TrainingPhotos(table, transform, 4), queue))
        worker.start()
        used.append(queue.get(timeout=200))
        worker.join()
    megabytes = photos * runs.nbytes / 1e6
    assert megabytes > 100
    assert used[0] - used[1] < 0.6 * megabytes / DRAWN  # two runs of the same differ by up to 10 MB
