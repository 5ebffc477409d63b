"""app.py: the page, asked over HTTP as a program would, and used in a real Chromium."""

import importlib.util
import io
import json
import os
import shutil
import socket
import time
import urllib.parse
from pathlib import Path
from zipfile import ZipFile

import pytest
from PIL import Image

from data.results.formats import FORMATS
from networks.predictor import Predictor
from scripts.page_screenshot import chromium, drop, served_page, wait_for_cards
from tests.helpers import ROOT, assert_one_line_error, encoded_photo, free_port, run_script

needs_gradio = pytest.mark.skipif(
    not importlib.util.find_spec("gradio"), reason="needs gradio (pip install -r requirements-app.txt)"
)
needs_chromium = pytest.mark.skipif(
    not (importlib.util.find_spec("selenium") and shutil.which("chromedriver")),
    reason="needs selenium and Debian's chromium and chromium-driver",
)
SHIRT = ROOT / "input_images/shirt.jpg"
# Python reads a file of this name at its start: here it writes down what names the page's process looks up.
LOOK_UPS = """
import os, socket
look_up = socket.getaddrinfo
def noted(host, *rest, **others):
    with open(os.environ["LOOK_UPS"], "a") as file:
        print(host, file=file)
    return look_up(host, *rest, **others)
socket.getaddrinfo = noted
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the page's process keeps temporary files."""
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def page(folder, tiny_checkpoint):
    """Address of the page, served behind a proxy that does not answer."""
    (folder / "sitecustomize.py").write_text(LOOK_UPS)
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    changes = proxies | {"PYTHONPATH": str(folder), "LOOK_UPS": str(folder / "look_ups"), "TMPDIR": str(folder)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in changes.items():
            patch.setenv(name, value)
        patch.delenv("NO_PROXY", raising=False)
        patch.delenv("no_proxy", raising=False)
        flags = ["--checkpoint_path", str(tiny_checkpoint), "--max_photos", "3", "--max_megabytes", "2"]
        serving = served_page(free_port(), *flags, "--device", "cpu", "--engine", "torch", "--precision", "fp32")
        address = serving.__enter__()
    yield address
    serving.__exit__(None, None, None)
    assert not list(folder.glob("cloth-segmentation-page-*"))  # SIGTERM ends it with its folder removed
    looked_up = set((folder / "look_ups").read_text().split())
    assert looked_up <= {"127.0.0.1", "localhost", "None", socket.gethostname()}


@pytest.fixture(scope="module")
def client():
    """Asks the page directly, whatever proxy the machine has."""
    import httpx

    with httpx.Client(trust_env=False, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint) -> Predictor:
    return Predictor.load(tiny_checkpoint, device="cpu", engine="torch", precision="fp32")


def ask(client, page: str, photos: dict[str, bytes], category: str = "any", output: str = "mask"):
    """(HTML of the answer, the downloaded file, its name) for photographs that are uploaded first."""
    files = [("files", (name, content)) for name, content in photos.items()]
    paths = client.post(f"{page}/gradio_api/upload", files=files).raise_for_status().json()
    dropped = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in paths]
    url = f"{page}/gradio_api/call/segment"
    event = client.post(url, json={"data": [dropped, category, output]}).raise_for_status().json()["event_id"]
    lines = client.get(f"{url}/{event}").text.splitlines()
    assert "event: complete" in lines, lines
    _, _, cards, button = json.loads(lines[lines.index("event: complete") + 1].removeprefix("data: "))
    if not button["interactive"]:
        return cards, None, None
    path = urllib.parse.quote(button["value"]["path"])
    return cards, client.get(f"{page}/gradio_api/file={path}").raise_for_status().content, Path(path).name


@needs_gradio
@pytest.mark.parametrize("output", FORMATS)
def test_one_photo_gives_the_file_that_infer_would_write(page, client, predictor, output):
    cards, content, name = ask(client, page, {"shirt.jpg": SHIRT.read_bytes()}, "upper", output)
    assert cards.count("<img") == 2 and "shirt.jpg" in cards and predictor.name in cards
    assert name == f"shirt{FORMATS[output].suffix}"
    assert content == FORMATS[output].encode(predictor(SHIRT).only("upper"))


@needs_gradio
def test_several_give_a_zip_and_one_that_is_broken_its_reason(page, client, predictor):
    photos = {"a.jpg": SHIRT.read_bytes(), "<b>.jpg": b"not an image", "a.png": encoded_photo(30, 40)}
    cards, content, name = ask(client, page, photos, "any", "binary")
    assert name == "binary_any.zip" and cards.count("class='fault'") == 1
    assert "not an image in a format" in cards and "<b>" not in cards
    with ZipFile(io.BytesIO(content)) as file:
        assert file.namelist() == ["binary_any/a.jpg.png", "binary_any/a.png.png"]
        assert file.read("binary_any/a.jpg.png") == FORMATS["binary"].encode(predictor(SHIRT))


@needs_gradio
def test_nothing_but_the_result_is_left_on_the_disk(page, client, folder):
    (place,) = folder.glob("cloth-segmentation-page-*")
    before = set(place.rglob("*"))
    ask(client, page, {"shirt.jpg": SHIRT.read_bytes()})
    left = [path for path in set(place.rglob("*")) - before if path.is_file()]
    assert [path.name for path in left] == ["shirt.png"]
    assert SHIRT.stat().st_size not in [path.stat().st_size for path in folder.rglob("*") if path.is_file()]


@needs_gradio
def test_uploads_are_told_apart_and_those_of_others_stay(tmp_path):
    from app import take

    (tmp_path / "being uploaded").write_bytes(b"its first bytes")
    (tmp_path / "forgotten").touch()
    paths = [tmp_path / folder / name for folder, name in [("x", "2_a.jpg"), ("y", "a.jpg"), ("z", "a.jpg")]]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(path.parent.name.encode())
    taken = take([str(path) for path in [*paths, tmp_path / "gone.jpg"]], tmp_path, 10, 1)
    assert list(taken) == ["2_a.jpg", "a.jpg", "3_a.jpg", "gone.jpg"]
    assert list(taken.values())[:3] == [b"x", b"y", b"z"] and "drop it again" in taken["gone.jpg"]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["being uploaded"]


@needs_gradio
def test_limits(page, client):
    files = [("files", ("endless.jpg", bytes(6_200_000)))]  # more than three of 2 MB
    assert client.post(f"{page}/gradio_api/upload", files=files).status_code == 413
    photos = {f"{i}.png": encoded_photo(30, 40 + i) for i in range(4)}
    cards, _, _ = ask(client, page, photos)
    assert cards.count("<img") == 6 and "left out: the limit is 3 photos" in cards


@needs_gradio
def test_only_files_of_the_page_are_served(page, client, folder):
    assert client.get(f"{page}/gradio_api/file={folder}/look_ups").status_code == 403


def test_a_port_in_use_is_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        run = run_script("app.py", "--port", taken.getsockname()[1])
    assert_one_line_error(run, "cannot listen", "choose another --port")


def test_without_gradio_the_install_command_is_said(tmp_path):
    (tmp_path / "gradio.py").write_text("raise ImportError('none here')")
    run = run_script("app.py", env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert_one_line_error(run, "pip install -r requirements-app.txt")


@pytest.fixture(scope="module")
def downloads(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(downloads):
    with chromium(downloads) as browser:
        yield browser


@needs_gradio
@needs_chromium
def test_in_a_browser_photos_are_dropped_seen_and_downloaded(page, browser, downloads, predictor, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(SHIRT.read_bytes()[:2000])
    browser.get(page)
    (tmp_path / "large.jpg").write_bytes(bytes(2_200_000))
    drop(browser, [SHIRT, tmp_path / "broken.jpg", tmp_path / "large.jpg"])
    good, broken, large = wait_for_cards(browser, 3)
    widths = [
        browser.execute_script("return arguments[0].naturalWidth", i) for i in good.find_elements("tag name", "img")
    ]
    assert widths == [533, 533]
    assert "broken.jpg" in broken.text and "broken image" in broken.text
    assert "large.jpg" in large.text and "over the limit of 2 MB" in large.text
    assert download(browser, downloads, "mask_any.zip").read_bytes()[:2] == b"PK"

    browser.find_element("css selector", "input[type=radio][value=lower]").click()  # of the same photographs
    zip_file = download(browser, downloads, "mask_lower.zip")
    with ZipFile(zip_file) as file:
        assert file.read("mask_lower/shirt.png") == FORMATS["mask"].encode(predictor(SHIRT).only("lower"))


@needs_gradio
@needs_chromium
def test_in_a_browser_a_photo_of_100_megapixels(page, browser, downloads, tmp_path):
    Image.new("L", (10_000, 10_000), 120).save(tmp_path / "huge.png")
    browser.get(page)
    drop(browser, [tmp_path / "huge.png"])
    (card,) = wait_for_cards(browser, 1, seconds=300)
    assert "10000x10000" in card.text
    with Image.open(download(browser, downloads, "huge.png")) as mask:
        assert (mask.size, mask.mode) == ((10_000, 10_000), "P")


def download(browser, downloads: Path, name: str) -> Path:
    """The file of this name, when the button offers it and it has come."""
    words = f"Download {name}"
    wait_for(lambda: [b for b in browser.find_elements("tag name", "button") if b.text == words])[0].click()
    return wait_for(lambda: list(downloads.glob(name)))[0]


def wait_for(found, seconds: float = 120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := found():
            return result
        time.sleep(0.1)
    raise AssertionError("it did not come")
