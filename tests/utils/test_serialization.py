"""What load_safely makes of the things that stand beside tensors, (what it refuses: test_foreign)."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pytest
import torch

from utils.serialization import PickledDtype, load_safely, pickled_number

PURE = PureWindowsPath if os.name == "nt" else PurePosixPath


@pytest.mark.parametrize(
    ("saved", "expected"),
    [
        *((x, x.item()) for x in (np.float64(0.1), np.float32(0.25), np.float16(2), np.int64(-3), np.uint8(255))),
        (np.bool_(True), True), (np.str_("é"), "é"), (Path("a") / "b", PURE("a/b")),
    ],
)  # fmt: skip
def test_numpys_numbers_become_pythons_own_and_paths_readable_on_every_system(saved, expected, tmp_path):
    torch.save({"x": saved}, tmp_path / "a.pth")
    found = load_safely(tmp_path / "a.pth")["x"]
    assert found == expected and type(found) is type(expected)


def test_numbers_of_a_machine_with_the_other_byte_order_are_read():
    kind = PickledDtype("f8")
    for order in "<>":
        kind.__setstate__((3, order, None, None, None, -1, -1, 0))
        assert pickled_number(kind, np.array(0.1, f"{order}f8").tobytes()) == 0.1


def test_files_can_be_loaded_in_threads_at_once(tmp_path, monkeypatch):
    """PyTorch's list of what is safe is one for all threads: the first to end would take it from the second."""
    torch.save({"x": np.float64(0.1)}, tmp_path / "a.pth")
    original, seconds = torch.load, iter((0.1, 0.3))
    monkeypatch.setattr(torch, "load", lambda *args, **named: time.sleep(next(seconds)) or original(*args, **named))
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(load_safely, [tmp_path / "a.pth"] * 2)) == [{"x": 0.1}] * 2


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_can_be_left_on_disk_where_the_format_allows_that(zipped, tmp_path):
    torch.save({"x": torch.arange(5)}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert load_safely(tmp_path / "a.pth", mmap=True)["x"].tolist() == [0, 1, 2, 3, 4]
