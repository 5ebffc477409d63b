"""Segment photographs with the deployed network: python deploy/deployed_infer.py (see --help).

Asks Vertex AI, or a plain TorchServe with --url. Needs neither PyTorch nor the weights.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from options.deploy_options import ClientOptions

if __name__ == "__main__":
    options = ClientOptions.from_command_line()  # before the imports that take seconds

import base64
import http.client
import io
import ipaddress
import json
import math
import socket
import time
import urllib.parse
import urllib.request
from collections.abc import Callable

import numpy as np
from PIL import Image

from data.photos.folder import find_photos, name_key, result_names
from data.photos.open import PhotoError, open_photo
from data.results.formats import FORMATS, JPEG_SIDE, jpeg
from data.results.segmentation import Segmentation
from utils.errors import UserError, escape_unprintable, one_line, run_program
from utils.files import FullDiskError, make_writable_folder, say_replaced, write_atomically

ROUTE = "/predictions/cloth_seg"
SECONDS = 120  # to wait for an answer
PAUSES = (1, 3, 9)  # seconds before another try
RETRYABLE = (429, 500, 502, 503, 504, 507)  # statuses after which another try may help
MOST_BYTES = 100_000_000  # of a reply; a mask of MEGAPIXELS takes less
MEGAPIXELS = 20  # the network sees far less; larger photographs only cost time on the way

Send = Callable[[bytes], bytes]  # request body -> reply body


class AnswerError(Exception):
    """A photograph was not served; the message says why in one line. retryable: another try may help."""

    def __init__(self, reason: str, retryable: bool = False):
        super().__init__(reason)
        self.retryable = retryable


def main(options: ClientOptions) -> int:
    results = plan(options)
    send = torchserve(options.url) if options.url else vertex(options)
    failed = 0
    for source, target in results.items():
        try:
            content = segment(source, send, options)
        except (PhotoError, AnswerError) as error:
            fault = f"skipped {escape_unprintable(source)}: {escape_unprintable(error)}"
        else:
            fault = save(target, content)
        failed += bool(fault)
        if fault:
            print(fault, file=sys.stderr)
        else:
            print(f"{escape_unprintable(source)} -> {escape_unprintable(target)}")
    print(f"{len(results) - failed} of {len(results)} photographs segmented")
    return 1 if failed else 0


def save(target: Path, content: bytes) -> str | None:
    """Write a result; why it cannot be written, where the next one still may be. Raises FullDiskError."""
    try:
        write_atomically(target, content)
    except FullDiskError:
        raise
    except UserError as error:
        return escape_unprintable(error)


def plan(options: ClientOptions) -> dict[Path, Path]:
    """Where the result of each photograph goes. Raises UserError."""
    output = Path(options.output)
    sources = {}  # photograph by its name in the output folder
    for given in map(Path, options.input):
        if given.is_dir():
            names = {name: given / name for name in find_photos(given, leave_out=output)}
        else:
            names = {Path(given.name): given}
        earlier = set(map(name_key, sources))
        if twice := [name for name in names if name_key(name) in earlier]:
            raise UserError(f"two photographs of --input are called {min(twice)}; give their folder instead")
        sources |= names
    suffix = FORMATS[options.format].suffix
    named = output.suffix.lower().replace(".jpeg", ".jpg")
    if len(sources) == 1 and named in {form.suffix for form in FORMATS.values()} and not output.is_dir():
        if named != suffix:
            raise UserError(f"--output {output}: --format {options.format} is written as {suffix}; name it so")
        targets = [output]
    else:
        targets = [output / f"{name}{suffix}" for name in result_names(list(sources)).values()]
        folders = (each if each.is_dir() else each.parent for each in map(Path, options.input))
        if output.resolve() in {folder.resolve() for folder in folders}:
            raise UserError("--input and --output are the same folder; results would be mixed with photographs")
    photos = {name_key(source.resolve()) for source in sources.values()}
    if replaced := [target for target in targets if name_key(target.resolve()) in photos]:
        raise UserError(f"a result would replace the photograph {replaced[0]}; choose another --output")
    say_replaced(targets)
    make_writable_folder(targets[0].parent)
    return dict(zip(sources.values(), targets, strict=True))


def segment(path: Path, send: Send, options: ClientOptions) -> bytes:
    """The encoded result for one photograph, at its own size. Raises PhotoError, AnswerError, UserError."""
    photo = open_photo(path)
    content = encode(path, photo, options.max_request_megabytes * 1e6)
    request = {
        "instances": [{"instance_key": base64.b64encode(content).decode()}],
        "parameters": {"category": options.category},
    }
    mask = mask_of(send_with_retries(send, json.dumps(request).encode()))
    if mask.size != photo.size:
        if mask.size != open_photo(io.BytesIO(content)).size:
            raise AnswerError(f"the reply is a mask of {mask.width}x{mask.height} pixels, not of the photo")
        mask = mask.resize(photo.size, Image.Resampling.NEAREST)
    labels = np.asarray(mask)
    numbers = tuple(map(str, range(int(labels.max()) + 1)))  # the reply does not name its classes
    return FORMATS[options.format].encode(Segmentation.from_labels(labels, numbers, photo))


def encode(path: Path, photo: Image.Image, request_bytes: float) -> bytes:
    """The photograph's file as it is, or a JPEG of it, small enough for a request in base64."""
    limit = int((request_bytes - 200) * 3 / 4)  # 200 bytes are the JSON around it
    if path.stat().st_size <= limit and photo.width * photo.height <= MEGAPIXELS * 1e6:
        return path.read_bytes()
    scale = min(1.0, math.sqrt(MEGAPIXELS * 1e6 / (photo.width * photo.height)), JPEG_SIDE / max(photo.size))
    while True:
        size = [max(1, int(side * scale)) for side in photo.size]
        content = jpeg(photo.resize(size, Image.Resampling.BICUBIC))
        if len(content) <= limit or size == [1, 1]:
            return content
        scale *= 0.95 * min(1.0, math.sqrt(limit / len(content)))


def send_with_retries(send: Send, body: bytes) -> bytes:
    """The reply, after as many tries as are worth making. Raises AnswerError, UserError."""
    for pause in PAUSES:
        try:
            return send(body)
        except AnswerError as error:
            if not error.retryable:
                raise
            time.sleep(pause)
    return send(body)


def mask_of(reply: bytes) -> Image.Image:
    """The palette image in a reply. Raises AnswerError."""
    try:
        (prediction,) = json.loads(reply)["predictions"]
        if "error" in prediction:
            raise AnswerError(_line(prediction["error"]))
        with Image.open(io.BytesIO(base64.b64decode(prediction["body"])), formats=["PNG"]) as mask:
            if mask.width * mask.height > MEGAPIXELS * 1e6:  # no photo that was sent is so large
                raise AnswerError(f"the reply is a mask of {mask.width}x{mask.height} pixels")
            mask.load()
    except AnswerError:
        raise
    except Exception as error:  # Pillow's decoders raise what they like on broken files
        raise AnswerError(f"the reply is not a mask ({_line(error)})") from None
    if mask.mode != "P":
        raise AnswerError(f"the reply is an image of mode {mask.mode}, not a mask")
    return mask


def torchserve(url: str) -> Send:
    """How to ask a plain TorchServe. Raises UserError on what is not a web address."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname or "", parts.port  # the port is checked as it is read
        host.encode("idna")
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("http", "https") or any(c.isspace() for c in url):
        raise UserError(f"--url {url} is not a web address such as http://localhost:7080")
    if parts.path in ("", "/"):
        url = urllib.parse.urlunsplit(parts._replace(path=ROUTE))
    # A proxy could not reach this machine, whether or not NO_PROXY says so.
    proxies = urllib.request.ProxyHandler({} if is_this_machine(host) else None)
    opener = urllib.request.build_opener(proxies, AnyStatus)

    def send(body: bytes) -> bytes:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        try:
            with opener.open(request, timeout=SECONDS) as reply:
                # Where the server says the length, only read() without a number notices that a part is missing.
                short = reply.length is not None and reply.length <= MOST_BYTES
                content = reply.read() if short else reply.read(MOST_BYTES + 1)
        except (OSError, ValueError, http.client.HTTPException) as error:  # ValueError: a part of a negative size
            reason = getattr(error, "reason", error)
            if isinstance(reason, ConnectionRefusedError):
                raise UserError(f"no server answers at {url}; start it as docs/deploy.md says") from None
            if isinstance(reason, socket.gaierror) and reason.errno == socket.EAI_NONAME:
                raise UserError(f"no host is named {host}; check --url") from None
            raise AnswerError(f"no answer from {url} ({_line(reason)})", True) from None
        if len(content) > MOST_BYTES:
            raise AnswerError(f"the reply is over {MOST_BYTES / 1e6:g} MB")
        if 200 <= reply.status < 300:
            return content
        said = f"{reply.status} {reply.reason} {reply.headers.get('Location', '')}".strip()
        raise AnswerError(_line(error_of(content) or said), reply.status in RETRYABLE)

    return send


class AnyStatus(urllib.request.HTTPErrorProcessor):
    """Hands over every reply as it is. A redirect would lose the photo, and let the server say whom to ask."""

    def http_response(self, request, response):
        return response

    https_response = http_response


def is_this_machine(host: str) -> bool:
    """Whether a host name or address means the machine that asks."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def error_of(body: bytes) -> str | None:
    """The reason in a JSON error, the handler's or TorchServe's own."""
    try:
        content = json.loads(body)
        return content.get("error") or content.get("message")
    except (ValueError, AttributeError, RecursionError):
        return None


def vertex(options: ClientOptions) -> Send:
    """How to ask a Vertex AI endpoint. Raises UserError without Google's library or credentials."""
    try:
        from google.api import httpbody_pb2
        from google.api_core.exceptions import GoogleAPICallError, NotFound, PermissionDenied, Unauthenticated
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import aiplatform_v1
    except ImportError:
        raise UserError("google-cloud-aiplatform is missing: pip install -r deploy/requirements-client.txt") from None
    log_in = "run: gcloud auth application-default login"
    host = options.api_endpoint or f"{options.location}-aiplatform.googleapis.com"
    project = options.project_number or options.project
    endpoint = f"projects/{project}/locations/{options.location}/endpoints/{options.endpoint_id}"
    try:
        client = aiplatform_v1.PredictionServiceClient(client_options={"api_endpoint": host})
    except GoogleAuthError as error:
        raise UserError(f"no Google credentials ({_line(error)}); {log_in}") from None

    def send(body: bytes) -> bytes:
        content = httpbody_pb2.HttpBody(data=body, content_type="application/json")
        request = aiplatform_v1.RawPredictRequest(endpoint=endpoint, http_body=content)
        try:
            return client.raw_predict(request=request, timeout=SECONDS).data
        except NotFound:
            raise UserError(f"no {endpoint}; run: gcloud ai endpoints list --region={options.location}") from None
        except (Unauthenticated, GoogleAuthError) as error:
            raise UserError(f"Google refuses the credentials ({_line(error)}); {log_in}") from None
        except PermissionDenied as error:
            raise UserError(
                f"no permission to ask {endpoint} ({_line(error)}); the account needs the role roles/aiplatform.user"
            ) from None
        except GoogleAPICallError as error:
            raise AnswerError(_line(error), error.code in RETRYABLE) from None

    return send


def _line(error: object) -> str:
    return one_line(error)[:300]


if __name__ == "__main__":
    run_program(main, options)
