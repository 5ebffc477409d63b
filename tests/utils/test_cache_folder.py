from pathlib import Path
from unittest.mock import Mock

import pytest

from utils.cache_folder import cache_folder, cached
from utils.errors import UserError


def test_content_is_made_once_again_where_it_is_broken_and_without_a_folder_to_keep_it(monkeypatch, tmp_path):
    made = []

    def lookups(folder) -> int:
        """How often the content was made, from the first look-up on."""
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
        monkeypatch.setenv("LOCALAPPDATA", str(folder))
        assert cached("name", lambda: made.append(1) or b"content") == b"content"
        return len(made)

    assert [lookups(tmp_path), lookups(tmp_path)] == [1, 1]
    kept = cache_folder() / "name"
    for number, broken in enumerate((kept.read_bytes()[:-1], kept.read_bytes()[:-1] + b"!", b""), 2):
        kept.write_bytes(broken)
        assert lookups(tmp_path) == number
    (tmp_path / "file").touch()
    assert lookups(tmp_path / "file") == 5
    monkeypatch.setattr(Path, "home", Mock(side_effect=RuntimeError("Could not determine home directory.")))
    assert lookups("") == 6
    with pytest.raises(UserError, match="set HOME"):
        cache_folder()
