"""What load_safely makes of the things that stand beside tensors, (what it refuses: test_foreign)."""

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pytest
import torch

from utils.serialization import load_safely

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


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_can_be_left_on_disk_where_the_format_allows_that(zipped, tmp_path):
    torch.save({"x": torch.arange(5)}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert load_safely(tmp_path / "a.pth", mmap=True)["x"].tolist() == [0, 1, 2, 3, 4]
