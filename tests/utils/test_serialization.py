"""What load_safely makes of the things that stand beside tensors, (what it refuses: test_foreign)."""

from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pytest
import torch

from utils.serialization import load_safely


def after_a_file(value: object, path: Path) -> object:
    torch.save(value, path)
    return load_safely(path)


@pytest.mark.parametrize(
    "number",
    [np.float64(0.1), np.float32(0.25), np.float16(2), np.int64(-3), np.uint8(255), np.bool_(True), np.str_("é")],
)
def test_numpy_numbers_become_pythons_own(number, tmp_path):
    found = after_a_file({"x": number}, tmp_path / "a.pth")["x"]
    assert found == number.item() and type(found) is type(number.item())


def test_paths_of_any_system_are_read_on_every_other(tmp_path):
    here = Path("a") / "b"
    pure = PureWindowsPath if type(here).__name__.startswith("Windows") else PurePosixPath
    assert after_a_file({"path": here}, tmp_path / "a.pth")["path"] == pure("a/b")


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_can_be_left_on_disk_where_the_format_allows_that(zipped, tmp_path):
    torch.save({"x": torch.arange(5)}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert load_safely(tmp_path / "a.pth", mmap=True)["x"].tolist() == [0, 1, 2, 3, 4]
