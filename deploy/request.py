"""Requests of the server: from what TorchServe hands over to photographs and what is wanted of them."""

import base64
import io
import json
import re
import reprlib
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from PIL import Image

from data.results.formats import FORMATS

DEFAULTS = {"category": "any", "format": "mask"}
HEADER_PREFIX = "x-"  # of the headers that carry the parameters of a bare photograph
MEGABYTE = 1_000_000
SHAPES = '{"instance_key": B64}, {"data": {"b64": B64}}, the same with any other key, or B64 alone'
ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]*://", re.IGNORECASE)  # gs://, https:// and the like
MAX_TEXTS = 100  # of an instance: each is tried as an image, and a request could hold millions
# Byte-order marks and what may stand before JSON, in UTF-8, UTF-16 and UTF-32.
BEFORE_JSON = b"\xef\xbb\xbf\xff\xfe \t\r\n\0"
URL_SAFE = bytes.maketrans(b"-_", b"+/")
WHITESPACE = b" \t\r\n\v\f"


class RequestError(ValueError):
    """A request, or one photograph of it, that is refused; the message says why in one line."""

    def __init__(self, reason: str, status: int = 400):
        super().__init__(reason)
        self.status = status
        self.body = json.dumps({"error": reason}).encode()

    def untraced(self) -> "RequestError":
        """The same, to keep: the one that was raised holds its callers, and with them the whole batch."""
        return RequestError(str(self), self.status)


@dataclass(frozen=True)
class Limits:
    """What one request may cost the server; deploy/model-config.yaml has the values.

    photo_megabytes: of one photograph as a file, not as base64. reply_megabytes: must stay below max_response_size
    of config.properties, because a larger reply kills the worker.
    """

    photo_megabytes: float
    photo_megapixels: float
    instances: int
    reply_megabytes: float


@dataclass(frozen=True)
class Request:
    """A parsed request.

    photos: encoded photographs, or why one is refused. enveloped: asked for as ``instances`` and so answered as
    ``predictions``; otherwise there is one photograph, answered as itself.
    """

    photos: tuple[bytes | RequestError, ...]
    enveloped: bool
    category: str
    format: str


def parse(parameters: dict, headers: dict[str, str], class_names: tuple[str, ...], limits: Limits) -> Request:
    """A request from what TorchServe makes of its body: the bytes, the fields of a form or the decoded JSON.

    headers: by lower-case name. class_names: by label value. Raises RequestError.
    """
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise RequestError(
            "the body was declared a web form; send its own type, such as Content-Type: image/jpeg, or use curl -T"
        )
    if set(parameters) <= {"body"}:
        content = parameters.get("body", b"")
        if isinstance(content, str):
            content = content.encode("utf-8", "replace")
        if isinstance(content, bytes | bytearray) and content.lstrip(BEFORE_JSON)[:1] in (b"{", b"["):
            content = _json(content)  # no image file begins like that
        if not isinstance(content, bytes | bytearray):
            return _envelope(content, class_names, limits)
        asked = {name: headers[HEADER_PREFIX + name] for name in DEFAULTS if HEADER_PREFIX + name in headers}
    else:
        content, asked = _form(parameters)
    if not content:
        raise RequestError("the request is empty; send a photo, or JSON with instances")
    _check_size(len(content), limits)
    return Request((bytes(content),), False, **_choices(asked, class_names))


def _json(text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not valid JSON ({error})") from None


def _form(fields: dict) -> tuple[bytes, dict]:
    """(the photo, what is asked for) of a form. Raises RequestError."""
    files = [name for name in fields if name not in DEFAULTS]
    if len(files) != 1:
        raise RequestError(
            f"a form must hold one photo, and may have the fields {', '.join(DEFAULTS)}; this one has "
            f"{reprlib.repr(sorted(files)) if files else 'none'}"
        )
    content = fields[files[0]]
    if not isinstance(content, bytes | bytearray):  # TorchServe decodes parts that are sent as text or JSON
        raise RequestError(f"the form's part {reprlib.repr(files[0])} is text, not a photo")
    asked = {name: fields[name] for name in DEFAULTS if name in fields}
    asked |= {name: value.decode("utf-8", "replace") for name, value in asked.items() if hasattr(value, "decode")}
    return content, asked


def _envelope(body: object, class_names: tuple[str, ...], limits: Limits) -> Request:
    instances = body.get("instances") if isinstance(body, dict) else None
    if not isinstance(instances, list) or not instances:
        raise RequestError('no instances; send {"instances": [{"instance_key": "<base64 of a photo>"}]}')
    for name in DEFAULTS:
        if name in body:  # other keys are somebody else's and are passed over
            raise RequestError(f'{name} belongs in "parameters", such as {{"parameters": {{"{name}": ...}}}}')
    if len(instances) > limits.instances:
        raise RequestError(f"{len(instances)} instances are over the limit of {limits.instances} a request", 413)
    choices = _choices(body.get("parameters"), class_names)
    return Request(tuple(_instance(instance, limits) for instance in instances), True, **choices)


def _instance(instance: object, limits: Limits) -> bytes | RequestError:
    """The encoded photograph of an instance, or why there is none: the one image among its texts."""
    texts = list(islice(_texts(instance), MAX_TEXTS + 1))
    if len(texts) > MAX_TEXTS:
        return RequestError(f"an instance must hold exactly one image, and at most {MAX_TEXTS} texts in all")
    address = next(filter(ADDRESS.match, texts), None)
    try:
        if len(texts) == 1 and not address:
            return _decode(texts[0], limits)
        images = [content for content in (_image(text, limits) for text in texts) if content]
    except RequestError as refusal:
        return refusal.untraced()
    if len(images) == 1:
        return images[0]
    if address and not images:
        return RequestError(f"{reprlib.repr(address)} is an address; images are sent as bytes, in base64: {SHAPES}")
    return RequestError(
        f"an instance must hold exactly one image, this one holds {len(images) or 'none'}; send {SHAPES}"
    )


def _texts(value: object) -> Iterator[str]:
    """Texts among the values of nested JSON, whatever their keys; without recursion, because JSON can be deep."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | list):
            waiting.extend(value.values() if isinstance(value, dict) else value)


def _image(text: str, limits: Limits) -> bytes | None:
    """The encoded image in a text, or None where there is another thing in it. Raises RequestError on a large one."""
    try:
        content = _decode(text, limits)
        Image.open(io.BytesIO(content))  # reads the header alone
    except RequestError as refusal:
        if refusal.status == 413:
            raise
        return None
    except Exception:  # Pillow's decoders raise what they like on broken files
        return None
    return content


def _decode(text: str, limits: Limits) -> bytes:
    """The bytes of a base64 text: standard or URL-safe, with or without padding and line breaks, or a data: URI.

    Percent signs are undone as in a URL. Raises RequestError.
    """
    text = text.strip()
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().endswith(";base64"):
            raise RequestError("a data: URI must be base64")
    try:
        text = urllib.parse.unquote(text, errors="strict")
        digits = text.encode("ascii").translate(URL_SAFE, WHITESPACE).rstrip(b"=")
    except ValueError as error:
        raise RequestError(f"bad base64 ({error})") from None
    _check_size(len(digits) * 3 // 4, limits)
    try:
        content = base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
    except ValueError as error:
        raise RequestError(f"bad base64 ({error})") from None
    if not content:
        raise RequestError("the photo is empty")
    return content


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.photo_megabytes * MEGABYTE:
        raise RequestError(
            f"a photo of {size / MEGABYTE:.1f} MB is over the limit of {limits.photo_megabytes:g} MB; shrink it",
            413,
        )


def _choices(asked: object, class_names: tuple[str, ...]) -> dict[str, str]:
    """Category and format from what is asked for. Raises RequestError on what is not known."""
    if asked is None:
        return DEFAULTS
    if not isinstance(asked, dict):
        raise RequestError('parameters is an object, such as {"category": "upper", "format": "cutout"}')
    allowed = {"category": ("any", *class_names[1:]), "format": tuple(FORMATS)}
    for name, value in asked.items():
        if name not in allowed:
            raise RequestError(f"unknown parameter {reprlib.repr(name)}; known are {', '.join(allowed)}")
        if value not in allowed[name]:
            raise RequestError(f"unknown {name} {reprlib.repr(value)}; known are {', '.join(allowed[name])}")
    return DEFAULTS | asked
