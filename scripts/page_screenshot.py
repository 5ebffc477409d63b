"""Make docs/page.png anew, the picture of app.py's page: python scripts/page_screenshot.py

Starts the page, drops photographs of input_images/ on it in a headless Chromium, and waits for the answer. Needs
requirements-dev.txt, and chromium and chromedriver on PATH (Debian: apt-get install chromium chromium-driver).
"""

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from options.base_options import BaseOptions, option


@dataclass
class ScreenshotOptions(BaseOptions):
    """Make the picture of the page anew."""

    port: int = option(7861, "a free port", at_least=1, at_most=65535)
    output: str = option(str(ROOT / "docs/page.png"), "PNG to write")


from utils.errors import UserError, run_program
from utils.files import write_atomically

PHOTOS = ("shirt.jpg", "skirt.jpg", "dress.jpg")
BROWSER_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip


def main(options: ScreenshotOptions) -> None:
    from PIL import Image

    with served_page(options.port) as address, chromium() as browser:
        browser.set_window_size(1280, 1180)
        browser.get(address)
        drop(browser, [ROOT / "input_images" / name for name in PHOTOS])
        wait_for_cards(browser, len(PHOTOS))
        screen = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    picture = screen.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    write_atomically(Path(options.output), lambda file: picture.save(file, "PNG", optimize=True))


@contextmanager
def served_page(port: int, *flags: str) -> Iterator[str]:
    """The page's address, while app.py serves it. Raises UserError where it does not start."""
    command = [sys.executable, "app.py", "--port", str(port), *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        if "open http" not in process.stdout.readline():
            raise UserError("app.py did not start")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=60)


@contextmanager
def chromium(downloads: Path | None = None):
    """A headless Chromium, driven by Selenium, that saves downloads into a folder. Raises UserError."""
    try:
        from selenium import webdriver
    except ImportError:
        raise UserError("selenium is missing: pip install -r requirements-dev.txt") from None
    driver = shutil.which("chromedriver")
    if not driver:
        raise UserError("chromedriver is not on PATH (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    for flag in BROWSER_FLAGS:
        options.add_argument(flag)
    if downloads:
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield browser
    finally:
        browser.quit()


def drop(browser, photos: list[Path]) -> None:
    """Give the page photographs, as if they were dropped on it."""
    from selenium.webdriver.support.ui import WebDriverWait

    field = WebDriverWait(browser, 60).until(lambda b: b.find_elements("css selector", "input[type=file]"))[0]
    field.send_keys("\n".join(map(str, photos)))


def wait_for_cards(browser, count: int, seconds: float = 60) -> list:
    """The cards of the answer, when there are ``count`` of them."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, seconds).until(
        lambda b: len(cards := b.find_elements("css selector", ".card")) == count and cards
    )


if __name__ == "__main__":
    run_program(main, ScreenshotOptions.from_command_line())
