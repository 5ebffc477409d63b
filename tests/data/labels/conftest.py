"""Folders with one photo, a.jpg: one of each test, and one that the examples of a property share."""

from pathlib import Path

import pytest

from tests.data.labels.drawn import save_photo


@pytest.fixture
def folder(tmp_path) -> Path:
    return save_photo(tmp_path / "a.jpg").parent


@pytest.fixture(scope="module")
def one_photo(tmp_path_factory) -> Path:
    return save_photo(tmp_path_factory.mktemp("one") / "a.jpg").parent
