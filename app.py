"""A page to try the network in a browser: python app.py (see --help)."""

from options.app_options import AppOptions

if __name__ == "__main__":
    options = AppOptions.from_command_line()  # before the imports that take seconds

import base64
import html
import io
import os
import signal
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from zipfile import ZipFile

# Read when gradio is imported. Without them it reports its start to two servers.
os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
try:
    import gradio as gr
except ImportError as error:
    raise SystemExit(f"error: the page needs gradio ({error}): pip install -r requirements-app.txt") from None
import numpy as np

from data.photos.folder import name_key, result_names
from data.photos.open import PhotoError, open_photo
from data.results.formats import FORMATS, blended_image, jpeg, result_path
from data.results.segmentation import Segmentation
from networks.predictor import Predictor
from utils.errors import UserError, run_program
from utils.freed_memory import keep_freed_memory
from utils.label_values import PALETTE

MEGABYTE = 1_000_000
VISITORS = 8  # whose photos are kept in memory, for another category or output
PREVIEW = 720  # pixels, the longer side of the pictures on the page; results have the photo's size
CSS = """
.card { display: grid; grid-template-columns: 1fr 1fr 13em; gap: 1em; padding: 1em 0; align-items: start;
        border-top: 1px solid var(--border-color-primary) }
.card img { width: 100%; max-height: 70vh; object-fit: contain; object-position: top; border-radius: 6px }
.card h3 { margin: 0 0 .5em; overflow-wrap: anywhere }
.card .fault { grid-column: 1 / 3; margin: 0 }
.legend { display: flex; gap: 1.2em; padding-bottom: .6em; flex-wrap: wrap }
.swatch { display: inline-block; width: .9em; height: .9em; border-radius: 3px; margin-right: .4em }
@media (max-width: 800px) { .card { grid-template-columns: 1fr 1fr } }
"""


def main(options: AppOptions) -> None:
    predictor = Predictor.load(**options.predictor)
    keep_freed_memory()
    for name in ("NO_PROXY", "no_proxy"):  # gradio calls its own page when it starts, and would ask a proxy for it
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1,localhost", options.host)))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: with its folder removed
    gr.processing_utils.async_ssrf_protected_download = refuse_address
    with tempfile.TemporaryDirectory(prefix="cloth-segmentation-page-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        page = build_page(predictor, options, Path(folder))
        try:
            page.launch(
                server_name=options.host, server_port=options.port,
                max_file_size=options.max_photos * options.max_megabytes * MEGABYTE,  # gradio refuses the whole drop
                share=False, show_error=True, run_history=False, ssr_mode=False, footer_links=[], css=CSS, quiet=True,
                prevent_thread_lock=True, state_session_capacity=VISITORS,
            )  # fmt: skip
        except (OSError, UnicodeError):  # the latter of a name that no host can have
            place = f"{options.host}:{options.port}"
            raise UserError(f"cannot listen at {place}; choose another --port or --host") from None
        print(f"device: {predictor.name}; open {page.local_url} in a browser; Ctrl-C ends the page", flush=True)
        while True:
            time.sleep(60)
            remove_leftovers(Path(folder), 60 * options.keep_minutes)


async def refuse_address(*_, **__) -> str:
    """In place of gradio's download: an address in place of a photo would be fetched, whatever its size."""
    raise gr.Error("send photos, not their addresses", print_exception=False)


@dataclass
class Photo:
    """A photo as the page keeps it: another category or output needs no second run of the network.

    content: the file. seen: what the network found, with the photo at the page's size. size: (height, width).
    It takes the file, 4 bytes per class and pixel of the input, and 4 bytes per pixel of the preview.
    """

    content: bytes
    seen: Segmentation
    size: tuple[int, int]
    seconds: float


def build_page(predictor: Predictor, options: AppOptions, folder: Path) -> gr.Blocks:
    """The page; it is not served yet. folder: of uploads and results, gradio's own."""
    categories = ["any", *predictor.class_names[1:]]
    names = [f"<span>{swatch(value)}{html.escape(name)}</span>" for value, name in enumerate(predictor.class_names)]
    legend = f"<div class='legend'>{''.join(names)}</div>"
    limits = (
        f"Up to {options.max_photos} photos, each up to {options.max_megabytes} MB and {options.max_megapixels:g} "
        f"megapixels. They are deleted from the disk before they are segmented, and results {options.keep_minutes} "
        f"minutes after they are made. The memory keeps the photos of the last {VISITORS} visitors while the program "
        "runs."
    )

    def receive(paths: list[str]) -> dict[str, bytes | str]:
        return take(paths, options.max_photos, options.max_megabytes)

    def look(files: dict[str, bytes | str]) -> dict[str, Photo | str]:
        return {name: segment(file, predictor, options.max_megapixels) for name, file in files.items()}

    def answer_program(paths: list[str] | None, category: str, output: str) -> str:
        """The result of one photo, or a zip of several; an error where a photo cannot be used."""
        files = receive(paths or [])  # off the disk, also where the request is refused
        for asked, known in ((category, categories), (output, FORMATS)):
            if asked not in known:
                raise gr.Error(f"{asked!r} is unknown; use one of {', '.join(known)}", print_exception=False)
        if not files:
            raise gr.Error("give a list of photos", print_exception=False)
        _, download, faults = write(look(files), category, output, options.max_megapixels, folder)
        if faults:
            raise gr.Error("; ".join(faults), print_exception=False)
        return str(download)

    def answer(paths: list[str] | None, photos: dict[str, Photo | str], category: str, output: str):
        """Segment the photos that were dropped now, or write those that were dropped before in another way."""
        started = time.perf_counter()
        if paths:
            photos = look(receive(paths))
        if not photos:
            return photos, legend, gr.DownloadButton("Download", interactive=False)
        cards, download, faults = write(photos, category, output, options.max_megapixels, folder)
        done = f"{len(photos) - len(faults)} of {len(photos)} photos in {time.perf_counter() - started:.1f} s"
        summary = f"<p>{done} · {html.escape(predictor.name)}</p>"
        button = gr.DownloadButton(
            f"Download {download.name}" if download else "Download", value=download, interactive=download is not None
        )
        return photos, legend + summary + "".join(cards), button

    delete_cache = 60, 60 * options.keep_minutes  # seconds: how often, from which age on
    with gr.Blocks(title="Clothes segmentation", delete_cache=delete_cache) as page:
        gr.Markdown("# Clothes segmentation")
        photos = gr.State({})
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                dropped = gr.File(label="Drop photos", file_count="multiple", height=160)
                category = gr.Radio(categories, value="any", label="Category")
                output = gr.Dropdown(list(FORMATS), value="mask", label="Output")
                download = gr.DownloadButton("Download", interactive=False, variant="primary")
                gr.Markdown(limits)
            with gr.Column(scale=3):
                cards = gr.HTML(legend)
        gr.on(
            [dropped.upload, category.input, output.input], answer, [dropped, photos, category, output],
            [photos, cards, download], api_visibility="private", show_progress_on=cards,
            trigger_mode="multiple",  # what is dropped or chosen during the work waits for its turn
        )  # fmt: skip
        # Emptied while the photos are on their way, not after the work: nothing later may name them again.
        dropped.change(lambda: None, outputs=dropped, api_visibility="private", queue=False)
        # Programs get a file, not the page's HTML. gradio would keep the photos of a wrong choice.
        asked = [gr.Textbox(chosen.value, label=chosen.label, visible=False) for chosen in (category, output)]
        gr.Button(visible=False).click(
            answer_program, [dropped, *asked], gr.File(label="Result", visible=False), api_name="segment"
        )
    return page


def take(paths: list[str], max_photos: int, max_megabytes: int) -> dict[str, bytes | str]:
    """The uploaded files by name, no two alike, or why one is not taken; they are removed from the disk."""
    photos = {}
    for number, path in enumerate(map(Path, paths)):
        taken = set(map(name_key, photos))
        name = next(n for n in chain([path.name], (f"{i}_{path.name}" for i in count(2))) if name_key(n) not in taken)
        try:
            if number >= max_photos:
                photos[name] = f"left out: the limit is {max_photos} photos at once"
            elif path.stat().st_size > max_megabytes * MEGABYTE:
                photos[name] = f"over the limit of {max_megabytes} MB; shrink the photo"
            else:
                photos[name] = path.read_bytes()
        except OSError:  # the same photo, dropped on another page at the same time, has the same path
            photos[name] = "could not be read; drop it again"
    for path in paths:
        with suppress(OSError):  # one that was dropped twice has one path; the page's API may name a folder
            Path(path).unlink()
    return photos


def remove_leftovers(folder: Path, seconds: float) -> None:
    """Remove what gradio forgets, when nobody has written to it for so long: the first part of a photo whose sender
    hung up, and empty files and folders. What is newer may be an upload under way."""
    for leftover in folder.glob("*"):
        with suppress(OSError):  # of a folder that holds something
            if time.time() - leftover.stat().st_mtime > seconds:
                leftover.rmdir() if leftover.is_dir() else leftover.unlink()


def segment(file: bytes | str, predictor: Predictor, max_megapixels: float) -> Photo | str:
    """Run the network on a file's photo; a file that was not taken, or is not a photo, gives the reason."""
    if isinstance(file, str):
        return file
    started = time.perf_counter()
    try:
        photo = open_photo(io.BytesIO(file), max_megapixels=max_megapixels)
    except PhotoError as error:
        return str(error)
    result = predictor(photo)
    photo.thumbnail((PREVIEW, PREVIEW))
    seen = Segmentation(result.logits, photo.size[::-1], result.class_names, photo)
    return Photo(file, seen, result.size, time.perf_counter() - started)


def write(
    photos: dict[str, Photo | str], category: str, output: str, max_megapixels: float, folder: Path
) -> tuple[list[str], Path | None, list[str]]:
    """(HTML for each photo, the file to download: a result, a zip of several, or None; a line for each fault)."""
    cards, faults, results = [], [], Path(tempfile.mkdtemp(dir=folder))
    archive = results / f"{output}_{category}.zip"
    single = None
    for path, name in result_names(list(map(Path, photos))).items():
        photo = photos[path.name]
        if isinstance(photo, str):
            faults.append(f"{path.name}: {photo}")
            cards.append(card(path.name, f"<p class='fault'>⚠ {html.escape(photo)}</p>"))
            continue
        content = encode(photo, category, output, max_megapixels)
        result = result_path(results, name, output, category)
        if len(photos) == 1:
            single = results / result.name
            single.write_bytes(content)
        else:
            with ZipFile(archive, "a") as file:
                file.writestr(result.relative_to(results).as_posix(), content)
        cards.append(photo_card(path.name, photo, category))
    return cards, single or (archive if archive.exists() else None), faults


def encode(photo: Photo, category: str, output: str, max_megapixels: float) -> bytes:
    """A result at the photo's own size. What it takes is free again before the next photo is opened."""
    pixels = None
    if FORMATS[output].needs_photo:
        pixels = open_photo(io.BytesIO(photo.content), max_megapixels=max_megapixels)
    result = Segmentation(photo.seen.logits, photo.size, photo.seen.class_names, pixels)
    return FORMATS[output].encode(result.only(category))


def photo_card(name: str, photo: Photo, category: str) -> str:
    """HTML of a photo: photo under the colours, class map, and what was found."""
    preview, names = photo.seen.only(category), photo.seen.class_names
    shares = np.bincount(preview.labels.ravel(), minlength=len(names)) / preview.labels.size
    found = "".join(
        f"<div>{swatch(value)}{html.escape(names[value])} {100 * shares[value]:.1f} %</div>"
        for value in np.flatnonzero(shares)
        if value > 0
    )
    nothing = f"no {'clothes' if category == 'any' else html.escape(category)} found"
    height, width = photo.size
    return card(
        name,
        picture("photo under the colours", "image/jpeg", jpeg(blended_image(preview)))
        + picture("class map", "image/png", FORMATS["mask"].encode(preview)),
        f"{found or nothing}<p>{width}x{height}, {photo.seconds:.1f} s</p>",
    )


def card(name: str, pictures: str, facts: str = "") -> str:
    return f"<div class='card'>{pictures}<div><h3>{html.escape(name)}</h3>{facts}</div></div>"


def picture(alt: str, content_type: str, content: bytes) -> str:
    """An image within the page itself, so that it is not a file on the disk."""
    return f"<img alt='{alt}' src='data:{content_type};base64,{base64.b64encode(content).decode()}'>"


def swatch(value: int) -> str:
    return "<span class='swatch' style='background: rgb({}, {}, {})'></span>".format(*PALETTE[value])


if __name__ == "__main__":
    run_program(main, options)
