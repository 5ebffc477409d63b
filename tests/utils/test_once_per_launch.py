"""What the processes of one torchrun say is said once."""

from utils.once_per_launch import first_to_say


def test_the_first_rank_says_it_and_the_others_what_is_different(tmp_path, monkeypatch):
    def said(local_rank: int, text: str, attempt: int = 0) -> bool:
        folder = tmp_path / f"attempt_{attempt}" / str(local_rank)
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(folder / "error.json"))
        return first_to_say(text)

    texts = [(1, "error: a"), (0, "error: a"), (2, "error: b"), (3, "error: \udcff"), (4, "error: b")]
    assert [said(*each) for each in texts] == [True, False, True, True, False]
    assert said(0, "error: a", attempt=1)  # torchrun has restarted them
