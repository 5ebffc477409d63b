"""app.py: the page, asked over HTTP as a program would, and used in a real Chromium."""

import importlib.util
import json
import os
import shutil
import socket
import time
import urllib.request
import weakref
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from data.results.formats import FORMATS
from data.results.segmentation import Segmentation
from networks.predictor import Predictor
from scripts.page_screenshot import chromium, drop, served_page, wait_for_cards
from tests.helpers import ROOT, assert_one_line_error, encoded_photo, free_port, run_script

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("gradio"), reason="needs gradio (pip install -r requirements-app.txt)"
)
in_a_browser = pytest.mark.skipif(
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
    changes = {"PYTHONPATH": str(folder), "LOOK_UPS": str(folder / "look_ups"), "TMPDIR": str(folder)}
    changes |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (changes | {"NO_PROXY": "", "no_proxy": ""}).items():
            patch.setenv(name, value)
        flags = ["--checkpoint_path", str(tiny_checkpoint), "--max_photos", "3", "--max_megabytes", "2"]
        serving = served_page(free_port(), *flags, "--device", "cpu", "--engine", "torch", "--precision", "fp32")
        address = serving.__enter__()
    yield address
    serving.__exit__(None, None, None)
    assert not list(folder.glob("cloth-segmentation-page-*"))  # SIGTERM ends it with its folder removed
    assert set((folder / "look_ups").read_text().split()) <= {"127.0.0.1", "localhost", "None", socket.gethostname()}


def test_below_a_path_of_a_proxy_the_page_names_its_own_addresses(tiny_checkpoint, monkeypatch):
    monkeypatch.setenv("GRADIO_ROOT_PATH", "/clothes")
    flags = ["--checkpoint_path", str(tiny_checkpoint), "--device", "cpu"]
    with served_page(free_port(), *flags) as page, urllib.request.urlopen(f"{page}/config", timeout=30) as answer:
        assert json.load(answer)["root"].endswith("/clothes")


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint) -> Predictor:
    return Predictor.load(tiny_checkpoint, device="cpu", engine="torch", precision="fp32")


@pytest.fixture(scope="module")
def ask(page, tmp_path_factory):
    """Asks the page as programs do: the file for photos by name, a category and an output."""
    from gradio_client import Client, handle_file

    photos, results = (tmp_path_factory.mktemp(name) for name in ("asked", "answered"))
    client = Client(page, verbose=False, download_files=results)

    def ask(contents: dict[str, bytes], category: str = "any", output: str = "mask") -> Path:
        for name, content in contents.items():
            (photos / name).write_bytes(content)
        given = [handle_file(photos / name) for name in contents]
        return Path(client.predict(given, category, output, api_name="/segment"))

    return ask


@pytest.mark.parametrize("output", FORMATS)
def test_one_photo_gives_the_file_that_infer_would_write(ask, predictor, output):
    result = ask({"shirt.jpg": SHIRT.read_bytes()}, "upper", output)
    assert result.name == f"shirt{FORMATS[output].suffix}"
    assert result.read_bytes() == FORMATS[output].encode(predictor(SHIRT).only("upper"))


def test_the_memory_holds_one_whole_photo_at_a_time(predictor, tmp_path, monkeypatch):
    app, opened = importlib.import_module("app"), []
    photo, open_photo = app.segment(SHIRT.read_bytes(), predictor, 64), app.open_photo

    def watched(*arguments, **options) -> Image.Image:
        assert not any(each() for each in opened)
        opened.append(weakref.ref(image := open_photo(*arguments, **options)))
        return image

    monkeypatch.setattr(app, "open_photo", watched)
    app.write({"a.jpg": photo, "b.jpg": photo}, "any", "overlay", 64, tmp_path)
    assert len(opened) == 2


def test_several_give_a_zip(ask, predictor):
    result = ask({"a.jpg": SHIRT.read_bytes(), "a.png": encoded_photo(30, 40)}, "any", "binary")
    assert result.name == "binary_any.zip"
    with ZipFile(result) as file:
        assert file.namelist() == ["binary_any/a.jpg.png", "binary_any/a.png.png"]
        assert file.read("binary_any/a.jpg.png") == FORMATS["binary"].encode(predictor(SHIRT))


@pytest.mark.parametrize(("photos", "category", "words"), [
    ({}, "any", "give a list of photos"), ({"b.jpg": SHIRT.read_bytes()[:2000]}, "any", "b.jpg: broken image"),
    ({f"{i}.png": encoded_photo(30, 40 + i) for i in range(4)}, "any", "3.png: left out: the limit is 3 photos"),
    ({"a.png": encoded_photo()}, "hat", "'hat' is unknown; use one of any, upper, lower, full"),
])  # fmt: skip
def test_what_is_refused_is_an_error_that_says_why_and_leaves_nothing(ask, folder, photos, category, words):
    with pytest.raises(Exception, match=words):
        ask(photos, category)
    assert not {path.name for path in folder.rglob("*")} & photos.keys()


def test_addresses_in_place_of_photos_are_not_fetched(page):
    """The page's fixture looks at the names that were looked up."""
    from gradio_client import Client, handle_file

    with pytest.raises(Exception, match="send photos, not their addresses"):
        Client(page, verbose=False).predict(
            [handle_file("http://page-of-a-stranger.invalid/a.png")], "any", "mask", api_name="/segment"
        )


def test_a_card_has_two_pictures_or_the_reason_without_html_of_the_users(predictor, tmp_path):
    from app import Photo, photo_card, segment, write

    files = {"a.jpg": SHIRT.read_bytes(), "<b>.jpg": b"no image", "c.jpg": "left out"}
    photos = {name: segment(file, predictor, 1) for name, file in files.items()}
    cards, _, faults = write(photos, "any", "mask", 1, tmp_path)
    assert [card.count("<img") for card in cards] == [2, 0, 0] and "<b>" not in "".join(cards)
    nothing = Segmentation.from_labels(np.zeros((4, 4), np.uint8), predictor.class_names, Image.new("RGB", (4, 4)))
    assert "no upper found" in photo_card("d.jpg", Photo(b"", nothing, (4, 4), 0), "upper")
    assert faults == ["<b>.jpg: not an image in a format that Pillow reads", "c.jpg: left out"]


def test_nothing_but_the_result_is_left_on_the_disk(ask, folder):
    (place,) = folder.glob("cloth-segmentation-page-*")
    before = set(place.rglob("*"))
    ask({"shirt.jpg": SHIRT.read_bytes()})
    left = {path.name for path in set(place.rglob("*")) - before if path.is_file() and path.stat().st_size}
    assert left == {"shirt.png"}
    assert SHIRT.stat().st_size not in [path.stat().st_size for path in folder.rglob("*") if path.is_file()]


def test_uploads_are_told_apart(tmp_path):
    from app import take

    paths = [tmp_path / folder / name for folder, name in [("x", "2_a.jpg"), ("y", "a.jpg"), ("z", "A.jpg")]]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(path.parent.name.encode())
    taken = take([str(path) for path in [*paths, tmp_path / "gone.jpg"]], 10, 1)
    assert list(taken) == ["2_a.jpg", "a.jpg", "3_A.jpg", "gone.jpg"]
    assert list(taken.values())[:3] == [b"x", b"y", b"z"] and "drop it again" in taken["gone.jpg"]
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_parts_of_uploads_that_were_broken_off_are_removed_and_those_under_way_stay(tmp_path):
    from app import remove_leftovers

    for age in ("new", "old"):
        (tmp_path / f"{age} part").write_bytes(b"its first bytes")
        (tmp_path / f"{age} folder").mkdir()
        (tmp_path / f"{age} results").mkdir()
        (tmp_path / f"{age} results/a.png").touch()
    for path in tmp_path.glob("old*"):
        os.utime(path, (time.time() - 61,) * 2)
    remove_leftovers(tmp_path, 60)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"new part", "new folder", "new results", "old results"}


def test_endless_uploads_and_other_files_are_refused(page, folder):
    import httpx

    with httpx.Client(trust_env=False, timeout=120) as client:
        files = [("files", ("endless.jpg", bytes(6_200_000)))]  # more than three of 2 MB
        assert client.post(f"{page}/gradio_api/upload", files=files).status_code == 413
        assert client.get(f"{page}/gradio_api/file={folder}/look_ups").status_code == 403


def test_a_place_that_is_taken_is_one_line(tiny_checkpoint):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = run_script("app.py", "--port", port, "--engine", "torch", "--checkpoint_path", tiny_checkpoint)
    assert_one_line_error(run, f"cannot listen at 127.0.0.1:{port}; choose another --port or --host")


def test_without_gradio_the_install_command_is_said(tmp_path):
    (tmp_path / "gradio.py").write_text("raise ImportError('none here')")
    run = run_script("app.py", env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert_one_line_error(run, "pip install -r requirements-app.txt")


@in_a_browser
def test_in_a_browser_photos_are_dropped_seen_and_downloaded(page, predictor, tmp_path):
    (tmp_path / "large.jpg").write_bytes(bytes(2_200_000))
    Image.new("L", (4000, 3000), 120).save(tmp_path / "wide.png")
    with chromium(tmp_path) as browser:
        browser.get(page)
        drop(browser, [SHIRT, tmp_path / "large.jpg", tmp_path / "wide.png"])
        good, large, wide = wait_for_cards(browser, 3, seconds=120)
        pictures = good.find_elements("tag name", "img")
        assert [browser.execute_script("return arguments[0].naturalWidth", each) for each in pictures] == [533, 533]
        assert "2 of 3 photos in" in browser.find_element("tag name", "body").text
        assert "over the limit of 2 MB" in large.text and "4000x3000" in wide.text
        download(browser, tmp_path, "mask_any.zip")
        browser.find_element("css selector", "input[type=radio][value=lower]").click()  # of the same photographs
        with ZipFile(download(browser, tmp_path, "mask_lower.zip")) as file:
            assert file.read("mask_lower/shirt.png") == FORMATS["mask"].encode(predictor(SHIRT).only("lower"))
            assert Image.open(file.open("mask_lower/wide.png")).size == (4000, 3000)


@in_a_browser
def test_what_is_dropped_and_chosen_during_the_work_is_done_after_it(page, folder, predictor, tmp_path):
    Image.new("L", (12_000, 9_000)).save(tmp_path / "slow.png")
    (tmp_path / "next.jpg").write_bytes(SHIRT.read_bytes())
    sent = "return performance.getEntriesByType('resource').filter(e => e.name.includes('queue/join')).length"
    with chromium(tmp_path) as browser:
        browser.get(page)
        drop(browser, [tmp_path / "slow.png"])
        wait_for(lambda: browser.execute_script(sent))
        drop(browser, [tmp_path / "next.jpg", SHIRT])
        wait_for(lambda: list(folder.rglob("next.jpg")))
        browser.find_element("css selector", "input[type=radio][value=lower]").click()
        with ZipFile(download(browser, tmp_path, "mask_lower.zip")) as file:
            assert file.namelist() == ["mask_lower/next.png", "mask_lower/shirt.png"]
            assert file.read("mask_lower/next.png") == FORMATS["mask"].encode(predictor(SHIRT).only("lower"))
    assert not list(folder.rglob("next.jpg"))


def download(browser, downloads: Path, name: str) -> Path:
    """The file of this name, when the button offers it and it has come."""
    words = f"Download {name}"
    wait_for(lambda: [b for b in browser.find_elements("tag name", "button") if b.text == words])[0].click()
    return wait_for(lambda: list(downloads.glob(name)))[0]


def wait_for(found, seconds: float = 120):
    end = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)
    return result
