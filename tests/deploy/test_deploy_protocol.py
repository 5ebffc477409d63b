"""Requests and replies of the server without the server."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from deploy.protocol import Limits, Reply, answer

LIMITS = Limits(photo_megabytes=1, photo_megapixels=1, instances=4, reply_megabytes=0.5)


class HalfUpper:
    """A predictor that calls the left half of every photo 'upper', and counts its passes."""

    class_names = ("background", "upper", "lower", "full")

    def __init__(self):
        self.passes = []

    def predict(self, photos: list[Image.Image]) -> list[np.ndarray]:
        self.passes.append(len(photos))
        labels = [np.zeros((photo.height, photo.width), np.uint8) for photo in photos]
        for each in labels:
            each[:, : each.shape[1] // 2] = 1
        return labels


def encoded(width: int = 12, height: int = 8, kind: str = "PNG", noise: bool = False) -> bytes:
    pixels = np.full((height, width, 3), 128, np.uint8)
    if noise:
        pixels = np.random.default_rng(0).integers(0, 256, pixels.shape, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def ask(parameters: dict, headers: dict | None = None, predictor: HalfUpper | None = None) -> Reply:
    return answer([(parameters, headers or {})], predictor or HalfUpper(), LIMITS, 4)[0]


def ask_instances(*instances: object, **rest: object) -> Reply:
    return ask({"body": {"instances": list(instances), **rest}})


def error(reply: Reply) -> str:
    assert reply.content_type == "application/json"
    return json.loads(reply.body)["error"]


def labels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.mark.parametrize(
    "parameters",
    [
        {"body": bytearray(encoded())},
        {"body": bytearray(encoded(kind="JPEG"))},
        {"data": bytearray(encoded())},
        {"any_name": bytearray(encoded()), "format": bytearray(b"mask"), "category": "any"},
    ],
)
def test_one_photo_is_answered_with_its_mask(parameters):
    reply = ask(parameters)
    assert (reply.status, reply.content_type) == (200, "image/png")
    assert labels(reply.body).shape == (8, 12)
    assert labels(reply.body)[0].tolist() == [1] * 6 + [0] * 6


@pytest.mark.parametrize(
    "instance",
    [
        {"instance_key": b64(encoded())},
        {"b64": b64(encoded())},
        {"data": {"b64": b64(encoded())}},
        {"instance_key": "data:image/png;base64," + b64(encoded())},
        {"b64": "\n".join(b64(encoded())[i : i + 60] for i in range(0, 400, 60))},
    ],
)
def test_every_published_form_of_an_instance(instance):
    reply = ask_instances(instance)
    assert (reply.status, reply.content_type) == (200, "application/json")
    (prediction,) = json.loads(reply.body)["predictions"]
    assert prediction["content_type"] == "image/png"
    assert labels(base64.b64decode(prediction["body"])).shape == (8, 12)


def test_json_is_read_whatever_its_content_type():
    text = json.dumps({"instances": [{"b64": b64(encoded())}]})
    for body in (bytearray(text.encode()), text, bytearray(b"\n " + text.encode())):
        assert ask({"body": body}).status == 200


def test_parameters_choose_category_and_format():
    instance = {"b64": b64(encoded())}
    report = json.loads(ask_instances(instance, parameters={"format": "json"}).body)["predictions"][0]
    assert report["classes"]["upper"]["area"] == 48
    assert report["classes"]["upper"]["box"] == [0, 0, 6, 8]
    assert report["classes"]["upper"]["rle"] == "1 48"
    only_lower = json.loads(ask_instances(instance, parameters={"category": "lower"}).body)["predictions"][0]
    assert not labels(base64.b64decode(only_lower["body"])).any()
    assert json.loads(ask({"body": encoded()}, {"x-format": "json"}).body) == report
    form = ask({"data": encoded(), "format": bytearray(b"cutout"), "category": "upper"})
    assert labels(form.body).shape == (8, 12, 4)


def test_each_format_has_its_content_type():
    kinds = {name: ask({"data": encoded(), "format": name}).content_type for name in ("binary", "overlay", "json")}
    assert kinds == {"binary": "image/png", "overlay": "image/jpeg", "json": "application/json"}


GOOD = {"b64": b64(encoded())}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, "empty"),
        ({"body": bytearray()}, "empty"),
        ({"body": bytearray(b"hello")}, "not an image"),
        ({"body": "hello"}, "not an image"),
        ({"body": bytearray(encoded(99, 99, noise=True)[:9000])}, "broken image"),
        ({"body": bytearray(b'{"instances": [')}, "no valid JSON"),
        ({"body": bytearray(b"[" * 100_000)}, "no valid JSON"),
        ({"body": ["instances"]}, "no instances"),
        ({"body": {}}, "no instances"),
        ({"body": {"instances": []}}, "no instances"),
        ({"body": {"instances": {"b64": "x"}}}, "no instances"),
        ({"body": {"instances": [GOOD], "colour": 1}}, "unknown key 'colour'"),
        ({"body": {"instances": [GOOD], "parameters": {"colour": 1}}}, "unknown parameter 'colour'"),
        ({"body": {"instances": [GOOD], "parameters": {"format": "gif"}}}, "unknown format 'gif'"),
        ({"body": {"instances": [GOOD], "parameters": {"format": ["mask"]}}}, "unknown format"),
        ({"body": {"instances": [GOOD], "parameters": {"category": "hat"}}}, "unknown category 'hat'"),
        ({"body": {"instances": [GOOD], "parameters": {"category": "background"}}}, "unknown category"),
        ({"body": {"instances": [GOOD], "parameters": "mask"}}, "parameters is an object"),
        ({"body": {"instances": ["x"]}}, "an instance is"),
        ({"body": {"instances": [{"b64": "x", "data": {}}]}}, "an instance is"),
        ({"body": {"instances": [{"data": {"data": {}}}]}}, "an instance is"),
        ({"body": {"instances": [{"b64": 7}]}}, "base64 text"),
        ({"body": {"instances": [{"b64": "no*base64"}]}}, "bad base64"),
        ({"body": {"instances": [{"b64": "ünï"}]}}, "bad base64"),
        ({"body": {"instances": [{"b64": ""}]}}, "empty"),
        ({"body": {"instances": [{"b64": "data:image/png,x"}]}}, "must be base64"),
        ({"body": {"instances": [{"b64": b64(b"hello")}]}}, "not an image"),
        ({"body": bytearray(encoded(1001, 1000))}, "megapixels are over the limit of 1"),
        ({"a": bytearray(encoded()), "b": bytearray(encoded())}, "one photograph"),
        ({"format": bytearray(b"mask")}, "one photograph"),
        ({"a": "text"}, "text, not a photograph"),
        ({"a": bytearray(encoded()), "format": bytearray(b"gif")}, "unknown format"),
    ],
)
def test_bad_requests_are_told_why(parameters, words):
    reply = ask(parameters)
    assert reply.status == 400
    assert words in error(reply)
    assert len(error(reply)) < 200


def test_large_requests_are_told_the_limit():
    large = encoded(700, 700, noise=True)
    assert len(large) > 1_000_000
    for reply in (ask({"body": large}), ask_instances({"b64": b64(large)})):
        assert reply.status == 413
        assert "over the limit of 1 MB" in error(reply)
    many = ask_instances(*[GOOD] * 5)
    assert (many.status, error(many)) == (413, "5 instances are over the limit of 4 a request")


def test_a_reply_over_the_limit_is_refused_instead_of_sent():
    one = {"b64": b64(encoded(300, 300, noise=True))}
    assert ask_instances(one, parameters={"format": "cutout"}).status == 200
    reply = ask_instances(one, one, one, parameters={"format": "cutout"})
    assert reply.status == 413
    assert "over the limit of 0.5 MB" in error(reply)
    assert ask({"body": encoded(600, 600, "JPEG", noise=True)}, {"x-format": "cutout"}).status == 413


def test_bad_instances_stay_alone_within_their_request():
    reply = ask_instances(GOOD, {"b64": "*"}, {"b64": b64(b"hello")}, GOOD)
    assert reply.status == 200
    first, second, third, fourth = json.loads(reply.body)["predictions"]
    assert first == fourth
    assert "bad base64" in second["error"]
    assert "not an image" in third["error"]


def test_a_request_of_bad_instances_only_is_refused_with_every_reason():
    reply = ask_instances({"b64": "*"}, {"b64": b64(b"hello")})
    assert reply.status == 400
    assert "instance 0: bad base64" in error(reply)
    assert "instance 1: not an image" in error(reply)


def test_a_batch_is_one_pass_and_its_bad_requests_stay_alone():
    predictor = HalfUpper()
    items = [({"body": encoded(n, 8)}, {}) for n in (10, 12, 14)]
    items.insert(1, ({"body": b"hello"}, {}))
    replies = answer(items, predictor, LIMITS, 4)
    assert [reply.status for reply in replies] == [200, 400, 200, 200]
    assert [labels(replies[i].body).shape[1] for i in (0, 2, 3)] == [10, 12, 14]
    assert predictor.passes == [3]


def test_many_instances_go_through_the_network_in_bounded_passes():
    predictor = HalfUpper()
    items = [({"body": {"instances": [GOOD] * 4}}, {})] * 3
    answer(items, predictor, LIMITS, 5)
    assert predictor.passes == [5, 5, 2]


def test_web_form_encoding_is_explained():
    reply = ask({"garbage": ""}, {"content-type": "application/x-www-form-urlencoded"})
    assert reply.status == 400
    assert "Content-Type" in error(reply)
