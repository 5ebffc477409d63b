"""What the processes of one torchrun say is said once."""

import pytest

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


@pytest.mark.parametrize("value", [None, "", "/dev/null", "/no/such/folder/error.json", "/proc/1/x/error.json"])
def test_without_a_folder_to_share_everybody_says_it(value, monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    if value is not None:
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", value)
    assert first_to_say("error: a") and first_to_say("error: a")
