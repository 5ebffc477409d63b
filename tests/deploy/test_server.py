"""The deployment, run for real: a TorchServe with the archive, asked, abused and counted on."""

import base64
import http.client
import io
import json
import re
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.helpers import ROOT, b64, encoded_photo, run_here, run_script, scene

psutil = pytest.importorskip("psutil", reason="needs torchserve: pip install -r requirements-dev.txt")
pytest.importorskip("ts", reason="needs torchserve: pip install -r requirements-dev.txt")
if shutil.which("java") is None:
    pytest.skip("needs Java 17, which TorchServe runs on", allow_module_level=True)

from benchmarks.local_server import Answer, LocalServer  # noqa: E402
from deploy.build_archive import archive, contents  # noqa: E402

LIMITS = {"photo_megabytes": 2, "photo_megapixels": 2, "instances": 4, "reply_megabytes": 1}
BATCH = 4


class Photo(NamedTuple):
    name: str
    content: bytes
    mask: np.ndarray  # H x W uint8, as infer.py writes it


@pytest.fixture(scope="module")
def photos(tiny_checkpoint, tmp_path_factory) -> list[Photo]:
    """Photographs of differing sizes and the masks that infer.py makes of them."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(8):
        scene(seed, 60 + 10 * seed, 140 - 9 * seed).save(folder / f"{seed}.jpg")
    result = run_here(
        "infer.py", "--checkpoint_path", tiny_checkpoint, "--image_dir", folder, "--result_dir", folder / "masks",
        "--engine", "torch",  # that of the server
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = [
        Photo(path.name, path.read_bytes(), np.asarray(Image.open(folder / "masks" / f"{path.stem}.png")))
        for path in sorted(folder.glob("*.jpg"))
    ]
    assert all(len(np.unique(photo.mask)) > 1 for photo in found)
    return found


def build(checkpoint: Path, target: Path, patience: int | None = None, **replaced: bytes) -> Path:
    """The archive of the shipped settings, but for smaller limits, so that they are cheap to reach.

    patience: seconds until a worker that does not come up counts; as shipped without it.
    """
    files = contents(checkpoint, ROOT / "deploy/model-config.yaml")
    settings = yaml.safe_load(files["model-config.yaml"])
    settings["batchSize"], settings["maxBatchDelay"] = BATCH, 100  # enough for four requests to meet on a busy machine
    settings["minWorkers"] = settings["maxWorkers"] = 1
    settings["handler"]["limits"] = LIMITS
    settings["maxRetryTimeoutInSec"] = patience or settings["maxRetryTimeoutInSec"]
    files["model-config.yaml"] = yaml.safe_dump(settings).encode()
    target.write_bytes(archive(files | replaced))
    return target


@pytest.fixture(scope="module")
def server(tiny_checkpoint, tmp_path_factory):
    path = build(tiny_checkpoint, tmp_path_factory.mktemp("archive") / "cloth_seg.mar")
    # Just above the handler's own limit for a reply: if one slipped through, the worker would die.
    sizes = {"max_request_size": 8_000_000, "max_response_size": 1_100_000}
    # Those for pages of another origin, which are comments in config.properties.
    lines = (ROOT / "deploy/config.properties").read_text().splitlines()
    cors = dict(line.removeprefix("# ").split("=", 1) for line in lines if line.startswith("# cors_"))
    with LocalServer(path, sizes | cors) as running:
        running.wait_until_ready()
        yield running


def headers_of(server: LocalServer, method: str, path: str, body: bytes | None = None, **headers: str):
    """(status, headers of the answer by lower-case name)."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=120)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    answer.read()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}


def envelope(*contents: bytes, **parameters: str) -> bytes:
    return json.dumps({"instances": [{"instance_key": b64(c)} for c in contents], "parameters": parameters}).encode()


def form(content: bytes, **fields: str) -> tuple[bytes, str]:
    """(body, content type) of a form with a file and some fields, as curl -F sends it."""
    parts = [f'Content-Disposition: form-data; name="{k}"\r\n\r\n{v}'.encode() for k, v in fields.items()]
    head = b'Content-Disposition: form-data; name="data"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    body = b"".join(b"--frontier\r\n" + part + b"\r\n" for part in [head + content, *parts]) + b"--frontier--\r\n"
    return body, "multipart/form-data; boundary=frontier"


def is_mask(png: bytes, mask: np.ndarray) -> bool:
    return np.array_equal(np.asarray(Image.open(io.BytesIO(png))), mask)


def only_mask(answer: Answer) -> bytes:
    """The mask of the one prediction."""
    (prediction,) = answer.json["predictions"]
    return base64.b64decode(prediction["body"])


def assert_mask(answer: Answer, photo: Photo) -> None:
    assert (answer.status, answer.content_type) == (200, "image/png"), answer.body[:300]
    assert is_mask(answer.body, photo.mask)


def assert_refused(answer: Answer, status: int, words: str) -> None:
    assert (answer.status, answer.content_type) == (status, "application/json"), answer
    assert words in answer.json["error"]


def test_bytes_a_form_and_instances_give_the_mask_of_infer(server, photos):
    photo = photos[0]
    for content_type in ("image/jpeg", "application/octet-stream", ""):
        assert_mask(server.predict(photo.content, content_type), photo)
    assert_mask(server.predict(*form(photo.content)), photo)
    for encoding, content_type in (
        ("utf-8", "application/json"), ("utf-8", "application/json; charset=utf-8"), ("utf-8", ""),
        ("utf-16", "application/json"),
    ):  # fmt: skip
        answer = server.predict(envelope(photo.content).decode().encode(encoding), content_type)
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert is_mask(only_mask(answer), photo.mask)


def test_parameters_reach_the_handler(server, photos):
    photo, expected = photos[3], np.where(photos[3].mask == 2, 255, 0)
    answer = server.predict(envelope(photo.content, category="lower", format="binary"), "application/json")
    assert is_mask(only_mask(answer), expected)
    answer = server.predict(photo.content, "image/jpeg", **{"X-Category": "lower", "X-Format": "binary"})
    assert is_mask(answer.body, expected)
    report = server.predict(*form(photo.content, format="json", category="upper"))
    assert (report.status, report.content_type) == (200, "application/json")
    assert report.json["classes"]["upper"]["area"] == np.count_nonzero(photo.mask == 1)
    assert report.json["classes"]["lower"]["area"] == 0


TRUNCATED = encoded_photo(99, 99, "JPEG", noise=True)[:700]
BAD = {
    "empty": (b"", "image/jpeg", 400, "empty"),
    "text": (b"hello", "text/plain", 400, "not an image"),
    "truncated": (TRUNCATED, "image/jpeg", 400, "broken image"),
    "json": (b'{"instances": [', "application/json", 400, "not valid JSON"),
    "parameter": (envelope(encoded_photo(), colour="red"), "application/json", 400, "unknown parameter 'colour'"),
    "megabytes": (encoded_photo(1000, 800, noise=True), "image/png", 413, "over the limit of 2 MB"),
    "reply": (*form(encoded_photo(1000, 800, "JPEG", True), format="cutout"), 413, "over the limit of 1 MB"),
    "web form": (b"a=b", "application/x-www-form-urlencoded", 400, "Content-Type"),
}


@pytest.mark.parametrize(("body", "content_type", "status", "words"), BAD.values(), ids=BAD)
def test_bad_requests_are_told_why(server, body, content_type, status, words):
    assert_refused(server.predict(body, content_type), status, words)


def test_a_bad_request_stays_alone_in_its_batch(server, photos):
    bodies = [photos[0].content, b"hello", photos[1].content, photos[2].content]
    before = server.log.read_text()
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            start = threading.Barrier(4)

            def send(body: bytes, start=start) -> Answer:
                start.wait()
                return server.predict(body, "image/jpeg")

            first, second, third, fourth = pool.map(send, bodies)
            for answer, photo in zip((first, third, fourth), photos, strict=False):
                assert_mask(answer, photo)
            assert_refused(second, 400, "not an image")
    batches = re.findall(r"PredictionTime.*requestID:(.*),timestamp", server.log.read_text()[len(before) :])
    assert max(len(batch.split(",")) for batch in batches) == BATCH, "no full batch was ever made"


def test_a_batch_of_replies_near_the_limit_is_served(server):
    """Each is below the server's limit, all together are far above."""
    request = form(encoded_photo(500, 440, "JPEG", noise=True), format="cutout")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: server.predict(*request), range(8)))
    assert [answer.status for answer in answers] == [200] * 8
    assert 600_000 < len(answers[0].body) < 1_000_000


def test_what_torchserve_itself_refuses_is_413(server):
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"POST /predictions/cloth_seg HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n")
        assert b" 413 " in connection.recv(1000)
    assert server.predict(b"hello").status == 400  # and goes on


def test_a_shop_page_may_ask_where_the_settings_for_it_are_on(server, photos):
    asked = {"Origin": "https://shop.example", "Access_Control_Request_Method": "POST"}
    asked["Access_Control_Request_Headers"] = "content-type,x-format"
    status, headers = headers_of(server, "OPTIONS", "/predictions/cloth_seg", **asked)
    assert status == 200
    assert headers["access-control-allow-origin"] == "https://shop.example"
    assert "POST" in headers["access-control-allow-methods"]
    assert {"Content-Type", "X-Category", "X-Format"} == set(headers["access-control-allow-headers"].split(", "))
    for body, expected in ((photos[0].content, 200), (b"hello", 400)):
        status, headers = headers_of(server, "POST", "/predictions/cloth_seg", body, Content_Type="image/jpeg")
        assert (status, headers["access-control-allow-origin"]) == (expected, "https://shop.example")


def test_management_is_not_reachable_on_the_public_port(server):
    for path in ("/models", "/models/cloth_seg", "/metrics"):
        assert server.request(path).status == 404
    assert server.request("/ping").json == {"status": "Healthy"}


def test_the_client_writes_the_masks_of_infer(server, photos, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for photo in photos[:3]:
        (folder / photo.name).write_bytes(photo.content)
    (folder / "bad.jpg").write_bytes(TRUNCATED)
    result = run_script(
        "deploy/deployed_infer.py", "--input", folder, "--output", tmp_path / "masks", "--url", server.url
    )
    assert result.returncode == 1
    assert "bad.jpg: broken image" in result.stderr and "3 of 4 photographs" in result.stdout
    for photo in photos[:3]:
        assert is_mask((tmp_path / "masks" / photo.name).with_suffix(".png").read_bytes(), photo.mask)


def test_hundreds_of_requests_with_a_tenth_bad(server, photos):
    """All are answered rightly, by the same worker, whose memory does not grow."""
    before = [worker["pid"] for worker in server.workers()]
    bad = list(BAD.values())[:5]

    def ask(number: int) -> str | None:
        """What was wrong with the answer."""
        photo = photos[number % len(photos)]
        if number % 10 == 3:
            body, content_type, status, _ = bad[number // 10 % len(bad)]
            answer = server.predict(body, content_type)
            return None if answer.status == status else f"{number}: {answer}"
        alone = number % 2
        body, content_type = (photo.content, "image/jpeg") if alone else (envelope(photo.content), "application/json")
        answer = server.predict(body, content_type)
        right = answer.status == 200 and is_mask(answer.body if alone else only_mask(answer), photo.mask)
        return None if right else f"{number}: {answer.status} {answer.body[:200]}"

    def memory() -> int:
        return sum(psutil.Process(pid).memory_info().rss for pid in before)

    with ThreadPoolExecutor(8) as pool:
        wrong = [fault for fault in pool.map(ask, range(200)) if fault]
        warm = memory()
        wrong += [fault for fault in pool.map(ask, range(200, 500)) if fault]
    assert not wrong, wrong[:3]
    assert memory() < 1.05 * warm
    assert [worker["pid"] for worker in server.workers()] == before


def test_health_lasts_while_a_worker_that_died_is_replaced(server, photos):
    (worker,) = server.workers()
    psutil.Process(worker["pid"]).kill()
    deadline = time.monotonic() + 60
    while not [each for each in server.workers() if each["status"] == "READY" and each["pid"] != worker["pid"]]:
        assert time.monotonic() < deadline, "no new worker came up"
        assert server.request("/ping").status == 200
        time.sleep(0.1)
    assert_mask(server.predict(photos[0].content), photos[0])


def test_health_turns_unhealthy_when_the_network_cannot_be_loaded(tiny_checkpoint, tmp_path):
    path = build(tiny_checkpoint, tmp_path / "cloth_seg.mar", patience=3, **{"cloth_seg.pth": b"no weights"})
    with LocalServer(path) as broken:
        for _ in range(120):
            try:
                answer = broken.request("/ping")
            except OSError:
                answer = None  # not up yet
            if answer and answer.status != 200:
                break
            threading.Event().wait(0.5)
        assert (answer.status, answer.json) == (500, {"status": "Unhealthy"})
        # As shipped, no page of another origin may ask.
        _, headers = headers_of(broken, "OPTIONS", "/predictions/cloth_seg", Origin="https://shop.example")
        assert not [name for name in headers if name.startswith("access-control")]
