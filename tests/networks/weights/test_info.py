import reprlib

import pytest

from networks.weights.info import CheckpointInfo
from utils.errors import UserError


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("height", "768", "a whole number from 32 to 8192"), ("height", 31, "a whole number"),
        ("width", 10**9, "a whole number"), ("width", True, "a whole number"), ("std", 0.0, "a number over 0"),
        ("std", float("inf"), "a number over 0"), ("mean", "0.5", "a number"), ("mean", float("nan"), "a number"),
        ("class_names", "upper", "a list of different class names"), ("class_names", ("background", "../x"), "a list"),
        ("class_names", ("background", "a", "a"), "a list"), ("iteration", "1", "a whole number"),
        ("metrics", {"miou": "good"}, "numbers by name"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_field(field, value, wanted):
    with pytest.raises(UserError) as caught:
        CheckpointInfo.of({field: value}, "w.pth")
    assert str(caught.value).startswith(f"w.pth: {field} is {reprlib.repr(value)}; it must be {wanted}")
