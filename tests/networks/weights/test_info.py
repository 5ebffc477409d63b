import reprlib

import pytest

from networks.weights.info import CheckpointInfo
from utils.errors import UserError


def test_without_fields_of_its_own_a_file_is_of_the_published_network():
    info = CheckpointInfo.of({"state_dict": {}, "epoch": 3}, "w.pth")
    assert info == CheckpointInfo()
    assert (info.height, info.width, info.mean, info.std) == (768, 768, 0.5, 0.5)


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("height", "768", "a whole number from 32 to 8192"), ("height", 31, "a whole number"),
        ("height", 97.5, "a whole number"), ("width", 10**9, "a whole number"), ("width", True, "a whole number"),
        ("std", 0.0, "a number over 0"), ("std", -1.0, "a number over 0"), ("std", float("inf"), "a number over 0"),
        ("mean", "0.5", "a number"), ("mean", float("nan"), "a number"),
        ("class_names", (1, 2, 3, 4), "a list of different class names"), ("class_names", "upper", "a list"),
        ("class_names", ("background", "../x"), "a list"), ("class_names", ("background", "a", "a"), "a list"),
        ("class_names", ("background", "any"), "a list"), ("class_names", ("background", ""), "a list"),
        ("iteration", "1", "a whole number"), ("metrics", {"miou": "good"}, "numbers by name"), ("metrics", [1], ""),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_field(field, value, wanted):
    with pytest.raises(UserError) as caught:
        CheckpointInfo.of({field: value}, "w.pth")
    assert str(caught.value).startswith(f"w.pth: {field} is {reprlib.repr(value)}; it must be {wanted}")


def test_a_size_that_is_given_replaces_the_files():
    info = CheckpointInfo(height=64, width=96)
    assert info.resized(None, None) == info
    assert (info.resized(None, 128).height, info.resized(None, 128).width) == (64, 128)
    with pytest.raises(UserError, match="height is 97.5; it must be a whole number from 32 to 8192"):
        info.resized(97.5, None)
