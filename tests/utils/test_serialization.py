"""What load_safely makes of the things that stand beside tensors, and what it refuses (see test_weight_files)."""

from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pytest
import torch

from utils.errors import UserError
from utils.serialization import load_safely, save_atomically


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


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4), np.asfortranarray(np.arange(6).reshape(2, 3)), np.arange(3, dtype=">f4"),
        np.zeros((0, 2), np.float32), np.array(3.5), np.array(["a", "bcd"]), np.array([True, False]),
    ],
)  # fmt: skip
def test_numpy_arrays_keep_their_values_and_types(array, tmp_path):
    found = after_a_file([array, array], tmp_path / "a.pth")[1].value
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


def test_paths_of_any_system_are_read_on_every_other(tmp_path):
    here = Path("a") / "b"
    pure = PureWindowsPath if type(here).__name__.startswith("Windows") else PurePosixPath
    assert after_a_file({"path": here}, tmp_path / "a.pth")["path"] == pure("a/b")


@pytest.mark.parametrize("value", [np.array([1, "a"], object), np.zeros(2, [("x", "f4")]), object(), print])
def test_arrays_of_objects_and_other_objects_are_refused(value, tmp_path):
    torch.save({"x": value}, tmp_path / "a.pth")
    with pytest.raises(UserError, match="is refused"):
        load_safely(tmp_path / "a.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_can_be_left_on_disk_where_the_format_allows_that(zipped, tmp_path):
    torch.save({"x": torch.arange(5)}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert load_safely(tmp_path / "a.pth", mmap=True)["x"].tolist() == [0, 1, 2, 3, 4]


def test_a_place_that_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        save_atomically({}, tmp_path / "file" / "a.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
