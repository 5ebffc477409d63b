import pytest

from networks.weights.info import INCLUDED_WEIGHTS, CheckpointInfo
from utils.errors import UserError


def test_without_fields_of_its_own_a_file_is_of_the_published_network():
    info = CheckpointInfo.of({"state_dict": {}, "epoch": 3}, "w.pth")
    assert info == CheckpointInfo()
    assert (info.height, info.width, info.mean, info.std) == (768, 768, 0.5, 0.5)


def test_the_fields_of_a_file_are_taken():
    fields = {"class_names": ("background", "hat"), "height": 64, "width": 96, "mean": 0.4, "std": 0.3, "iteration": 7}
    assert CheckpointInfo.of(fields | {"metrics": {"miou": 0.5}}, "w.pth") == CheckpointInfo(
        ("background", "hat"), 64, 96, 0.4, 0.3, 7, {"miou": 0.5}
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"height": "768"}, {"height": 31}, {"width": 10**9}, {"width": True}, {"std": 0.0}, {"std": -1.0},
        {"mean": "0.5"}, {"mean": float("nan")}, {"std": float("nan")}, {"std": float("inf")},
        {"class_names": (1, 2, 3, 4)}, {"class_names": "upper"}, {"class_names": ("background", "../x")},
        {"class_names": ("background", "a", "a")}, {"class_names": ("background", "any")},
        {"class_names": ("background", "")}, {"iteration": "1"}, {"metrics": {"miou": "good"}}, {"metrics": [1]},
    ],
)  # fmt: skip
def test_a_file_that_describes_itself_wrongly_is_refused(wrong):
    with pytest.raises(UserError, match="w.pth describes itself wrongly"):
        CheckpointInfo.of(wrong, "w.pth")


def test_the_included_weights_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert INCLUDED_WEIGHTS.is_file()
