"""Replies of the server without the server: formats, refusals, batches, limits."""

import base64
import gc
import io
import json
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deploy.reply import Reply, answer
from deploy.request import Limits
from tests.deploy.half_upper import HalfUpper
from tests.helpers import b64, encoded_photo

LIMITS = Limits(photo_megabytes=1, photo_megapixels=1, instances=4, reply_megabytes=0.5)
GOOD = {"b64": b64(encoded_photo())}


def ask(parameters: dict, headers: dict | None = None, predictor: HalfUpper | None = None) -> Reply:
    return answer([(parameters, headers or {})], predictor or HalfUpper(), LIMITS, 4)[0]


def ask_instances(*instances: object, **rest: object) -> Reply:
    return ask({"body": {"instances": list(instances), **rest}})


def error(reply: Reply) -> str:
    assert reply.content_type == "application/json"
    return json.loads(reply.body)["error"]


def predictions(reply: Reply) -> list[dict]:
    assert (reply.status, reply.content_type) == (200, "application/json")
    return json.loads(reply.body)["predictions"]


def labels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_category_and_format_are_answered_as_asked():
    (report,) = predictions(ask_instances(GOOD, parameters={"format": "json"}))
    assert (report["classes"]["upper"]["box"], report["classes"]["upper"]["area"]) == ([0, 0, 6, 8], 48)
    assert json.loads(ask({"body": encoded_photo()}, {"x-format": "json"}).body) == report
    (only_lower,) = predictions(ask_instances(GOOD, parameters={"category": "lower"}))
    assert not labels(base64.b64decode(only_lower["body"])).any()
    assert labels(ask({"data": encoded_photo(), "format": "cutout"}).body).shape == (8, 12, 4)
    assert ask({"data": encoded_photo(), "format": "overlay"}).content_type == "image/jpeg"
    assert predictions(ask_instances(GOOD, parameters={"format": "overlay"}))[0]["content_type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"hello", "not an image"),
        (encoded_photo(99, 99, noise=True)[:9000], "broken image"),
        (encoded_photo(1001, 1000), "megapixels are over the limit of 1"),
    ],
)
def test_bad_photos_are_told_why(content, words):
    reply = ask({"body": bytearray(content)})
    assert reply.status == 400
    assert words in error(reply) and len(error(reply)) < 200


class Watched(bytearray):
    """Bytes that a weak reference can watch."""


@pytest.mark.parametrize("wrap", [
    lambda body: {"body": body}, lambda body: {"a": body, "b": body}, lambda body: {"body": Watched(b"{" + body)},
    lambda body: {"body": {"instances": [{"b64": "*"}], "id": body}}, lambda body: {"body": {"id": body}},
])  # fmt: skip
def test_a_refused_request_is_forgotten_at_once(wrap):
    """Not when Python next looks for cycles: until then a flood of large ones would fill the memory."""
    body = Watched(b"hello")
    parameters, watch = wrap(body), weakref.ref(body)
    if isinstance(parameters.get("body"), Watched):
        watch = weakref.ref(parameters["body"])
    gc.disable()
    try:
        assert ask(parameters).status == 400
        del body, parameters
        assert watch() is None
    finally:
        gc.enable()


def test_a_reply_over_the_limit_is_refused_instead_of_sent():
    one = {"b64": b64(encoded_photo(300, 300, noise=True))}
    assert ask_instances(one, parameters={"format": "cutout"}).status == 200
    assert "over the limit of 0.5 MB" in error(ask_instances(one, one, one, parameters={"format": "cutout"}))
    assert ask({"body": encoded_photo(600, 600, "JPEG", noise=True)}, {"x-format": "cutout"}).status == 413
    # Cut-outs that fit as bytes but not once base64 adds a third are not sent.
    one = {"b64": b64(encoded_photo(480, 240, noise=True))}
    size = len(ask({"body": base64.b64decode(one["b64"])}, {"x-format": "cutout"}).body)
    assert 2 * size < 500_000 < 2 * size * 4 / 3
    assert ask_instances(one, one, parameters={"format": "cutout"}).status == 413


def test_no_more_is_computed_for_a_reply_that_is_too_large():
    predictor = HalfUpper()
    large = [{"b64": b64(encoded_photo(800, 400, "JPEG", noise=True))}] * 4
    body = {"instances": large, "parameters": {"format": "cutout"}}
    replies = answer([({"body": body}, {}), ({"body": encoded_photo()}, {})], predictor, LIMITS, 1)
    assert [reply.status for reply in replies] == [413, 200]
    assert len(predictor.passes) == 2


def test_bad_instances_stay_alone_within_their_request_unless_all_are_bad():
    bad = {"b64": "*"}, {"b64": b64(b"hello")}
    first, second, third, fourth = predictions(ask_instances(GOOD, *bad, {"b64": b64(encoded_photo(20, 10))}))
    assert first["content_type"] == fourth["content_type"] == "image/png"
    assert [labels(base64.b64decode(each["body"])).shape for each in (first, fourth)] == [(8, 12), (10, 20)]
    assert "bad base64" in second["error"] and "not an image" in third["error"]
    reply = ask_instances(*bad)
    assert reply.status == 400
    assert "instance 0: bad base64" in error(reply) and "instance 1: not an image" in error(reply)
    assert ask_instances({"b64": b64(encoded_photo(700, 700, noise=True))}, *bad).status == 413


def test_a_batch_is_as_few_passes_as_can_be_and_its_bad_requests_stay_alone():
    predictor = HalfUpper()
    items = [({"body": encoded_photo(n, 8)}, {}) for n in (10, 12, 14)]
    items.insert(1, ({"body": b"hello"}, {}))
    items.insert(2, ({"body": {"instances": 7}}, {}))
    replies = answer(items, predictor, LIMITS, 4)
    assert [reply.status for reply in replies] == [200, 400, 400, 200, 200]
    for reply, half in zip((replies[0], *replies[3:]), (5, 6, 7), strict=True):
        assert reply.content_type == "image/png" and labels(reply.body).tolist() == [[1] * half + [0] * half] * 8
    assert predictor.passes == [3]
    answer([({"body": {"instances": [GOOD] * 4}}, {})] * 3, predictor, LIMITS, 5)
    assert predictor.passes == [3, 5, 5, 2]


@given(
    st.sampled_from([encoded_photo(kind=kind) for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "ICO")]),
    st.integers(0, 200), st.binary(max_size=8), st.integers(0, 300),
)  # fmt: skip
def test_a_damaged_photo_is_served_or_refused(content, start, damage, left):
    damaged = (content[:start] + damage + content[start + len(damage) :])[:left]
    assert ask({"body": damaged}).status in (200, 400)
    assert ask_instances({"image": b64(damaged), "id": "abcd"}, GOOD).status == 200
