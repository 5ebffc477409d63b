"""What the processes of one torchrun say is said once."""

import pytest

from utils.once_per_launch import first_to_say


@pytest.fixture
def rank(tmp_path, monkeypatch):
    """Makes this process one of a torchrun: rank(local rank, attempt)."""

    def become(local_rank: int, attempt: int = 0) -> None:
        folder = tmp_path / f"attempt_{attempt}" / str(local_rank)
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(folder / "error.json"))

    return become


def test_the_first_rank_says_it_and_the_others_what_is_different(rank):
    said = []
    for local_rank, text in [(1, "error: a"), (0, "error: a"), (2, "error: b"), (3, "error: \udcff"), (4, "error: b")]:
        rank(local_rank)
        said.append(first_to_say(text))
    assert said == [True, False, True, True, False]
    rank(0, attempt=1)  # torchrun has restarted them
    assert first_to_say("error: a")


@pytest.mark.parametrize("value", [None, "", "/dev/null", "/no/such/folder/error.json", "/proc/1/x/error.json"])
def test_without_a_folder_to_share_everybody_says_it(value, monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    if value is not None:
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", value)
    assert first_to_say("error: a") and first_to_say("error: a")
