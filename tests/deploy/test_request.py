"""Requests as clients send them: every shape that is read, and why the others are refused."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.results.formats import FORMATS
from deploy.request import Limits, Request, RequestError, parse
from tests.helpers import b64, encoded_photo

NAMES = ("background", "upper", "lower", "full")
LIMITS = Limits(photo_megabytes=1, photo_megapixels=1, instances=4, reply_megabytes=0.5)
PHOTO = encoded_photo()
TEXT = b64(PHOTO)
OTHER = b64(encoded_photo(30, 30, "JPEG"))
LARGE = encoded_photo(700, 700, noise=True)  # 1.5 MB


def read(parameters: dict, headers: dict | None = None) -> Request:
    return parse(parameters, headers or {}, NAMES, LIMITS)


def instances(*instance: object, **rest: object) -> dict:
    return {"body": {"instances": list(instance), **rest}}


def read_instance(instance: object) -> bytes | RequestError:
    request = read(instances(instance))
    assert request.enveloped
    (photo,) = request.photos
    return photo


def test_one_photo_comes_as_bytes_or_in_a_form():
    form = {"any_name": bytearray(PHOTO), "format": bytearray(b"mask"), "category": "any"}
    for parameters in ({"body": bytearray(PHOTO)}, {"body": PHOTO}, {"data": bytearray(PHOTO)}, form):
        assert read(parameters) == Request((PHOTO,), False, "any", "mask")


@pytest.mark.parametrize(
    "instance",
    [
        {"instance_key": TEXT}, {"data": {"b64": TEXT}}, TEXT, [TEXT], {"anything": {"at": {"any": {"depth": TEXT}}}},
        {"name": "input", "shape": [1], "datatype": "BYTES", "data": [TEXT]},
        {"image": {"b64": TEXT}, "key": "0123456789abcdef0123456789abcdef", "format": "jpeg", "category": None},
    ],
)  # fmt: skip
def test_an_instance_is_anything_with_exactly_one_image_in_it(instance):
    assert read_instance(instance) == PHOTO


def test_deep_nesting_does_not_stop_the_server():
    deep = TEXT
    for _ in range(5000):
        deep = {"a": [deep]}
    assert read_instance(deep) == PHOTO


NOISE = encoded_photo(540, 540, noise=True)  # 0.9 MB, of which base64 makes more than the limit
LONG, URL_SAFE = b64(NOISE), base64.urlsafe_b64encode(NOISE).decode()


@pytest.mark.parametrize(
    "text",
    [
        URL_SAFE.rstrip("="), base64.encodebytes(NOISE).decode(), f"  {LONG}\r\n",
        f"DATA:image/png;charset=utf-8;BASE64,{LONG.rstrip('=')}",
        f"\n data:;base64,{LONG}".replace("+", "%2B").replace("=", "%3D").replace("/", "%2f"),
    ],
    ids=["URL-safe", "lines", "blanks", "data URI", "percent signs"],
)  # fmt: skip
def test_base64_as_people_write_it(text):
    assert read_instance({"image": text}) == NOISE
    assert "-" in URL_SAFE and "_" in URL_SAFE


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_json_is_read_whatever_its_encoding_and_content_type(encoding):
    body = json.dumps({"instances": [{"b64": TEXT}]})
    assert read({"body": body}).photos == (PHOTO,)  # TorchServe decodes what is sent as text
    assert read({"body": bytearray(body.encode(encoding))}).photos == (PHOTO,)
    assert read({"body": bytearray(("\r\n " + body).encode(encoding))}).photos == (PHOTO,)


def test_parameters_choose_category_and_format():
    envelope = instances(TEXT, parameters={"category": "lower", "format": "json"})
    form = {"data": PHOTO, "format": bytearray(b"json"), "category": "lower"}
    for request in (read(envelope), read(form), read({"body": PHOTO}, {"x-format": "json", "x-category": "lower"})):
        assert (request.category, request.format) == ("lower", "json")
    others = instances(TEXT, signature_name="serving_default", id=7, parameters=None)
    assert read(others) == Request((PHOTO,), True, "any", "mask")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, "empty"), ({"body": bytearray()}, "empty"), ({"body": b'{"instances": ['}, "not valid JSON"),
        ({"body": b"[" * 100_000}, "not valid JSON"), ({"body": b'{"instances": ["\xff"]}'}, "not valid JSON"),
        ({"body": ["instances"]}, "no instances"), (instances(), "no instances"),
        (instances(TEXT, format="json"), 'format belongs in "parameters"'),
        (instances(TEXT, parameters={"colour": 1}), "unknown parameter 'colour'"),
        (instances(TEXT, parameters={"format": ["mask"] * 99}), "unknown format"),
        (instances(TEXT, parameters={"category": "background"}), "unknown category 'background'"),
        (instances(TEXT, parameters="mask"), "parameters is an object"),
        ({"a": PHOTO, "b": PHOTO}, "one photo"), ({"format": b"mask"}, "one photo"),
        ({"body": LARGE}, "over the limit of 1 MB"), (instances(*[TEXT] * 5), "5 instances are over the limit of 4 a"),
        ({"a": {"b": 1}}, "text, not a photo"), ({"a": PHOTO, "format": bytearray(b"gif")}, "unknown format 'gif'"),
    ],
)  # fmt: skip
def test_bad_requests_are_told_why(parameters, words):
    with pytest.raises(RequestError) as refusal:
        read(parameters)
    assert words in str(refusal.value) and len(str(refusal.value)) < 200
    assert refusal.value.status == (413 if "limit" in words else 400)


@pytest.mark.parametrize(
    ("instance", "words"),
    [
        *((text, "bad base64") for text in ("x", "no*base64", "ünï", "QUJD=QUJD", "data:image/png;base64,%ff")),
        ("", "empty"), ("data:image/png,x", "must be base64"), ({"b64": 7}, "none"), (None, "none"),
        ({"gcsUri": "gs://bucket/a.jpg"}, "'gs://bucket/a.jpg' is an address; images are sent as bytes"),
        ({"id": "abcd", "url": "HTTPS://example.com/a.jpg", "b64": ""}, "is an address"),
        ({"image": TEXT, "mask": OTHER}, "2"), ([TEXT, OTHER, TEXT, "gs://a"], "3"),
        ({"id": "abcd", "image": b64(LARGE)}, "over the limit of 1 MB"),
        ({"image": TEXT, "tags": ["tag"] * 1_000_000}, "at most 100 texts"),
    ],
)  # fmt: skip
def test_an_instance_without_exactly_one_image_is_told_the_shapes(instance, words):
    refusal = read_instance(instance)
    assert isinstance(refusal, RequestError) and refusal.status == (413 if "limit" in words else 400)
    assert words in str(refusal) and len(str(refusal)) < 200
    if words in ("none", "2", "3"):
        assert "exactly one image" in str(refusal) and '{"data": {"b64": B64}}' in str(refusal)


def test_web_form_encoding_is_explained():
    with pytest.raises(RequestError, match="Content-Type"):
        read({"garbage": ""}, {"content-type": "application/x-www-form-urlencoded; charset=utf-8"})


TEXTS = st.text(max_size=40) | st.sampled_from([TEXT, TEXT[:50], URL_SAFE[:90], "data:,", "ab-_ +/=%", "mask"])
JSON = st.recursive(
    st.none() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
ENVELOPES = st.fixed_dictionaries(
    {"instances": JSON | st.lists(JSON, max_size=6)},
    optional={"parameters": JSON | st.dictionaries(st.sampled_from(["category", "format", "x"]), JSON), "format": JSON},
)
STARTS = st.sampled_from([b"", b"{", b"\xef\xbb\xbf{", b"\xff\xfe{\0"])
PARTS = st.tuples(STARTS, st.binary(max_size=200)).map(b"".join) | TEXTS | JSON
BODIES = PARTS | ENVELOPES | ENVELOPES.map(lambda value: json.dumps(value).encode())
NAMED = st.dictionaries(st.sampled_from(["body", "data", "category", "format"]) | TEXTS, PARTS, max_size=3)
HEADERS = st.dictionaries(st.sampled_from(["content-type", "x-format", "x-category"]), TEXTS, max_size=3)


@given(st.fixed_dictionaries({"body": BODIES}) | NAMED, HEADERS)
def test_whatever_comes_is_read_or_refused(parameters, headers):
    try:
        request = read(parameters, headers)
    except RequestError as refusal:
        refusals = [refusal]
    else:
        assert request.category in ("any", *NAMES[1:]) and request.format in FORMATS
        assert all(isinstance(photo, RequestError) or (type(photo) is bytes and photo) for photo in request.photos)
        refusals = [photo for photo in request.photos if isinstance(photo, RequestError)]
    assert all(refusal.status in (400, 413) and len(str(refusal).splitlines()) == 1 for refusal in refusals)
