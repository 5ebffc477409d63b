"""Replies of the server: from parsed requests, through the network, to bytes."""

import base64
import io
import json
from collections import Counter
from dataclasses import dataclass

from data.photos.open import PhotoError, open_photo
from data.results.formats import FORMATS
from deploy.request import MEGABYTE, Limits, Request, RequestError, parse
from networks.predictor import Predictor

Result = bytes | RequestError


@dataclass(frozen=True)
class Reply:
    status: int
    content_type: str
    body: bytes


def answer(
    batch: list[tuple[dict, dict[str, str]]], predictor: Predictor, limits: Limits, batch_size: int
) -> list[Reply]:
    """Replies to a batch of requests, in order; one that is refused does not touch the others.

    batch: (TorchServe's parameters by name, headers by lower-case name) of each request. The photographs of all
    requests go through the network together, ``batch_size`` at a time, and no more than that are decoded at once.
    """
    requests = [_parsed(parameters, headers, predictor, limits) for parameters, headers in batch]
    # Each request's photographs, which become their results. A refused request has no photographs.
    results: list[list[Result]] = [list(getattr(request, "photos", ())) for request in requests]
    sizes: Counter[int] = Counter()  # bytes of the results so far, by number of the request
    waiting = [(number, i) for number, own in enumerate(results) for i, each in enumerate(own) if type(each) is bytes]
    for start in range(0, len(waiting), batch_size):
        decoded = []
        for number, i in waiting[start : start + batch_size]:
            if sizes[number] > limits.reply_megabytes * MEGABYTE:
                continue  # the reply is refused, whatever comes
            try:
                content = io.BytesIO(results[number][i])
                decoded.append((number, i, open_photo(content, max_megapixels=limits.photo_megapixels)))
            except PhotoError as error:
                results[number][i] = RequestError(str(error))
        segmentations = predictor.predict([photo for _, _, photo in decoded]) if decoded else ()
        for (number, i, _), segmentation in zip(decoded, segmentations, strict=True):
            encoded = FORMATS[requests[number].format].encode(segmentation.only(requests[number].category))
            results[number][i] = encoded
            sizes[number] += len(encoded)
    return [_reply(requests[number], own, sizes[number], limits) for number, own in enumerate(results)]


def _parsed(parameters: dict, headers: dict, predictor: Predictor, limits: Limits) -> Request | RequestError:
    try:
        return parse(parameters, headers, predictor.class_names, limits)
    except RequestError as refusal:
        return refusal.untraced()


def _reply(request: Request | RequestError, results: list[Result], size: int, limits: Limits) -> Reply:
    """size: bytes of the results; where it is over the limit, some of them were not computed."""
    if isinstance(request, RequestError):
        return _refused(request)
    if size > limits.reply_megabytes * MEGABYTE:
        return _refused(_too_large(size, limits))
    refusals = [result for result in results if isinstance(result, RequestError)]
    if len(refusals) == len(results):
        return _refused(refusals[0] if len(refusals) == 1 else _joined(refusals))
    if not request.enveloped:
        return Reply(200, FORMATS[request.format].content_type, results[0])
    # Entries are JSON already; a photograph that is refused has its reason in its place.
    body = b'{"predictions": [' + b", ".join(_entry(result, request.format) for result in results) + b"]}"
    if len(body) > limits.reply_megabytes * MEGABYTE:
        return _refused(_too_large(len(body), limits))
    return Reply(200, "application/json", body)


def _entry(result: Result, format: str) -> bytes:
    """A photograph's entry of the predictions: the report itself, or an image in base64 with its content type."""
    if isinstance(result, RequestError):
        return result.body
    if format == "json":
        return result
    image = {"body": base64.b64encode(result).decode("ascii"), "content_type": FORMATS[format].content_type}
    return json.dumps(image).encode()


def _joined(refusals: list[RequestError]) -> RequestError:
    reasons = "; ".join(f"instance {index}: {refusal}" for index, refusal in enumerate(refusals))
    return RequestError(reasons, max(refusal.status for refusal in refusals))


def _too_large(size: int, limits: Limits) -> RequestError:
    return RequestError(
        f"the reply ({size / MEGABYTE:.1f} MB or more) is over the limit of {limits.reply_megabytes:g} MB; "
        "send fewer or smaller photos, or ask for the format mask",
        413,
    )


def _refused(refusal: RequestError) -> Reply:
    return Reply(refusal.status, "application/json", refusal.body)
