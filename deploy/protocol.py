"""What the server is asked and answers, apart from TorchServe: requests, refusals, replies."""

import base64
import binascii
import io
import json
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import numpy as np
from PIL import Image
from utils.outputs import FORMATS, Segmentation

from data.classes import palette
from data.photo import PhotoError, open_photo

DEFAULTS = {"category": "any", "format": "mask"}
HEADER_PREFIX = "x-"  # of the headers that carry the parameters of a bare photograph
MEGABYTE = 1_000_000


class RequestError(ValueError):
    """A request, or one instance of it, that is not served; the message says why in one line."""

    def __init__(self, reason: str, status: int = 400):
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Limits:
    """What one request may cost the server."""

    photo_megabytes: float = 20.0  # of one photograph as it is sent, base64 undone
    photo_megapixels: float = 50.0
    instances: int = 16
    reply_megabytes: float = 24.0  # below max_response_size of config.properties: a larger reply kills the worker


@dataclass
class Request:
    """A parsed request and, one by one, its results.

    instances: encoded photographs, or why one is refused. enveloped: asked for as ``instances`` and so
    answered as ``predictions``; otherwise one photograph, answered as itself.
    """

    instances: list[bytes | RequestError] = field(default_factory=list)
    enveloped: bool = False
    category: str = DEFAULTS["category"]
    format: str = DEFAULTS["format"]
    results: dict[int, bytes | RequestError] = field(default_factory=dict)
    refusal: RequestError | None = None  # of the request as a whole


@dataclass(frozen=True)
class Reply:
    status: int
    content_type: str
    body: bytes


class Predicts(Protocol):
    """What answering needs of networks.predictor.Predictor."""

    class_names: tuple[str, ...]

    def predict(self, photos: list[Image.Image]) -> list[np.ndarray]: ...


def answer(items: list[tuple[dict, dict]], predictor: Predicts, limits: Limits, photos_a_pass: int) -> list[Reply]:
    """Replies to a batch of requests, in order; one that is refused does not touch the others.

    items: (TorchServe's parameters by name, headers by lower-case name) of each request. The photographs of
    all requests go through the network together, ``photos_a_pass`` at a time, and no more of them than that
    are decoded at once.
    """
    requests = [parse(parameters, headers, predictor.class_names, limits) for parameters, headers in items]
    colours = palette(len(predictor.class_names))
    photos = _photos(requests, limits)
    while group := list(islice(photos, photos_a_pass)):
        label_maps = predictor.predict([photo for _, _, photo in group])
        for (request, index, photo), labels in zip(group, label_maps, strict=True):
            result = Segmentation(labels, predictor.class_names, colours, photo).only(request.category)
            _keep(request, index, FORMATS[request.format].encode(result), limits)
    return [_reply(request, limits) for request in requests]


def parse(parameters: dict, headers: dict, class_names: tuple[str, ...], limits: Limits) -> Request:
    """A request from what TorchServe makes of its body: the bytes, the form's fields or the decoded JSON."""
    try:
        if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            raise RequestError(
                "the body came as a web form; name its type, such as Content-Type: image/jpeg (curl -T does)"
            )
        if set(parameters) <= {"body"}:
            body = parameters.get("body", b"")
            if isinstance(body, str):
                body = body.encode()
            if isinstance(body, bytes | bytearray):
                if body.lstrip()[:1] not in (b"{", b"["):  # no image file begins like that
                    asked = {
                        name: headers[HEADER_PREFIX + name] for name in DEFAULTS if HEADER_PREFIX + name in headers
                    }
                    return _one_photo(body, asked, class_names, limits)
                body = _json(body)
            return _instances(body, class_names, limits)
        return _form(parameters, class_names, limits)
    except RequestError as refusal:
        return Request(refusal=refusal)


def _json(text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is no valid JSON ({error})") from None


def _one_photo(content: bytes, asked: dict, class_names: tuple[str, ...], limits: Limits) -> Request:
    if not content:
        raise RequestError("the request is empty; send a photograph, or JSON with instances")
    return Request([_within_limit(content, limits)], False, **_choices(asked, class_names))


def _form(fields: dict, class_names: tuple[str, ...], limits: Limits) -> Request:
    files = [name for name in fields if name not in DEFAULTS]
    if len(files) != 1:
        raise RequestError(
            f"a form carries one photograph beside the fields {', '.join(DEFAULTS)}; this one has "
            f"{reprlib.repr(sorted(files)) if files else 'none'}"
        )
    content = fields[files[0]]
    if not isinstance(content, bytes | bytearray):  # TorchServe decodes parts sent as text or JSON
        raise RequestError(f"the form's part {_shown(files[0])} is text, not a photograph")
    asked = {name: _text(fields[name]) for name in DEFAULTS if name in fields}
    return _one_photo(content, asked, class_names, limits)


def _instances(body: object, class_names: tuple[str, ...], limits: Limits) -> Request:
    if not isinstance(body, dict) or not isinstance(body.get("instances"), list) or not body["instances"]:
        raise RequestError('no instances; send {"instances": [{"instance_key": "<base64 of a photograph>"}]}')
    unknown = sorted(set(body) - {"instances", "parameters"})
    if unknown:
        raise RequestError(f"unknown key {_shown(unknown[0])}; known are instances, parameters")
    if len(body["instances"]) > limits.instances:
        raise RequestError(
            f"{len(body['instances'])} instances are over the limit of {limits.instances} a request", 413
        )
    choices = _choices(body.get("parameters"), class_names)
    return Request([_instance(instance, limits) for instance in body["instances"]], True, **choices)


def _instance(instance: object, limits: Limits) -> bytes | RequestError:
    """Encoded photograph of {"instance_key": b64}, {"b64": b64} or {"data": {"b64": b64}}, or why there is none."""
    if isinstance(instance, dict) and set(instance) == {"data"}:
        instance = instance["data"]
    if not isinstance(instance, dict) or set(instance) not in ({"instance_key"}, {"b64"}):
        return RequestError('an instance is {"instance_key": b64}, {"b64": b64} or {"data": {"b64": b64}}')
    (text,) = instance.values()
    if not isinstance(text, str):
        return RequestError("an instance's photograph is base64 text")
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().endswith(";base64"):
            return RequestError("a data: URI must be base64")
    if len(text) * 3 / 4 > limits.photo_megabytes * MEGABYTE + 2:
        return _too_large(len(text) * 3 / 4, limits)
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        return RequestError(f"bad base64 ({error})")
    return _within_limit(content, limits) if content else RequestError("the photograph is empty")


def _within_limit(content: bytes, limits: Limits) -> bytes | RequestError:
    return content if len(content) <= limits.photo_megabytes * MEGABYTE else _too_large(len(content), limits)


def _too_large(size: float, limits: Limits) -> RequestError:
    return RequestError(
        f"a photograph of {size / MEGABYTE:.1f} MB is over the limit of {limits.photo_megabytes:g} MB; shrink it", 413
    )


def _choices(asked: object, class_names: tuple[str, ...]) -> dict[str, str]:
    """Category and format from what is asked for; refuses what is not known."""
    if asked is None:
        return {}
    if not isinstance(asked, dict):
        raise RequestError('parameters is an object, such as {"category": "upper", "format": "cutout"}')
    allowed = {"category": ("any", *class_names[1:]), "format": tuple(FORMATS)}
    for name, value in asked.items():
        if name not in allowed:
            raise RequestError(f"unknown parameter {_shown(name)}; known are {', '.join(allowed)}")
        if value not in allowed[name]:
            raise RequestError(f"unknown {name} {_shown(value)}; known are {', '.join(allowed[name])}")
    return asked


def _text(value: object) -> object:
    return bytes(value).decode("utf-8", "replace") if isinstance(value, bytes | bytearray) else value


def _shown(value: object) -> str:
    """What a client sent, short enough for a message."""
    return reprlib.repr(value)


def _photos(requests: list[Request], limits: Limits) -> Iterator[tuple[Request, int, Image.Image]]:
    """(request, index of the instance, decoded photograph), decoded as it is asked for; refusals are kept aside."""
    for request in requests:
        for index, content in enumerate(request.instances):
            if request.refusal:
                break
            if isinstance(content, RequestError):
                request.results[index] = content
                continue
            try:
                photo = open_photo(io.BytesIO(content), max_megapixels=limits.photo_megapixels)
            except PhotoError as error:
                request.results[index] = RequestError(str(error))
            else:
                yield request, index, photo


def _keep(request: Request, index: int, encoded: bytes, limits: Limits) -> None:
    """Store a result, as it will be sent, unless the reply has become too large."""
    request.results[index] = _prediction(request, encoded) if request.enveloped else encoded
    size = sum(len(result) for result in request.results.values() if isinstance(result, bytes))
    if size > limits.reply_megabytes * MEGABYTE:
        request.results.clear()
        request.refusal = _reply_too_large(size, limits)


def _reply_too_large(size: int, limits: Limits) -> RequestError:
    return RequestError(
        f"the reply ({size / MEGABYTE:.1f} MB or more) is over the limit of {limits.reply_megabytes:g} MB; "
        "send fewer or smaller photographs, or ask for the format mask",
        413,
    )


def _prediction(request: Request, encoded: bytes) -> bytes:
    """An instance's entry of the predictions: the report itself, or an image in base64 with its content type."""
    if request.format == "json":
        return encoded
    image = {"body": base64.b64encode(encoded).decode("ascii"), "content_type": FORMATS[request.format].content_type}
    return json.dumps(image).encode()


def _reply(request: Request, limits: Limits) -> Reply:
    results = [request.results[index] for index in sorted(request.results)]
    refusals = [result for result in results if isinstance(result, RequestError)]
    if request.refusal or len(refusals) == len(results):
        return _refused(request.refusal, refusals)
    if not request.enveloped:
        return Reply(200, FORMATS[request.format].content_type, results[0])
    # Entries are JSON already; an instance that is refused has its reason in its place.
    entries = [_error(result) if isinstance(result, RequestError) else result for result in results]
    body = b'{"predictions": [' + b", ".join(entries) + b"]}"
    if len(body) > limits.reply_megabytes * MEGABYTE:
        return _refused(_reply_too_large(len(body), limits), [])
    return Reply(200, "application/json", body)


def _refused(whole: RequestError | None, each: list[RequestError]) -> Reply:
    """The reply to a request of which nothing is served."""
    if whole is None and len(each) == 1:
        whole = each[0]
    if whole is None:
        reasons = "; ".join(f"instance {index}: {refusal}" for index, refusal in enumerate(each))
        whole = RequestError(reasons, max(refusal.status for refusal in each))
    return Reply(whole.status, "application/json", _error(whole))


def _error(refusal: RequestError) -> bytes:
    return json.dumps({"error": str(refusal)}).encode()
