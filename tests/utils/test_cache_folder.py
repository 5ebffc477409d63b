from utils.cache_folder import cache_folder, cached


def test_content_is_made_once_again_where_it_is_broken_and_without_a_folder_to_keep_it(monkeypatch, tmp_path):
    made = []

    def make() -> bytes:
        made.append(1)
        return b"content"

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert [cached("name", make) for _ in range(2)] == [b"content"] * 2
    assert len(made) == 1
    kept = cache_folder() / "name"
    for broken in (kept.read_bytes()[:-1], kept.read_bytes()[:-1] + b"!", b""):
        kept.write_bytes(broken)
        assert cached("name", make) == b"content"
    assert len(made) == 4
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "file"))
    assert cached("name", make) == b"content"
    assert len(made) == 5
