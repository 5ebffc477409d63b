"""The weights that others have published, by name: downloaded once into the cache folder, and checked."""

import os
import shutil
import warnings
from functools import partial
from pathlib import Path
from typing import NamedTuple

from networks.weights.info import MAX_BYTES
from utils.cache_folder import cache_folder, digest
from utils.errors import UserError, one_line
from utils.files import FullDiskError, is_disk_full, make_writable_folder

RELEASE = "https://github.com/danielgatis/rembg/releases/download/v0.0.0"  # rembg's, MIT licence
MIRROR = "CLOTH_SEGMENTATION_MIRROR"  # variable with another address that has the release's files
TRIES = 3
SECONDS = 30  # without an answer end a try


class Published(NamedTuple):
    """A file <name>.onnx of the release. google_drive: id of the .pth that it was made from."""

    md5: str
    google_drive: str | None = None


PUBLISHED = {
    "u2net_cloth_seg": Published("2434d1f3cb744e0e49386c906e5a08bb"),
    "u2net": Published("60024c5c889badc19c04ad937298a77b", "1ao1ovG1Qtx4b7EoskHXmi2E9rp5CHLcZ"),
    "u2netp": Published("8e83ca70e441ab06c318d82300c84806", "1rbSTGKAE-MTxBYHd-51l2hMOQPT_7EPy"),
}
CLOTH_SEG_BYTES = 176_194_565
OFF_BY_ONE = (
    "the published u2net_cloth_seg was trained with a class table that is off by one: it labels vests lower, skirts "
    "full and capes background"
)


def local_weights(path: str | Path) -> Path:
    """The path itself, or the file of the published weights of this name, downloaded if need be. Raises UserError.

    Warns once where the classes of a file are not what their names say.
    """
    if str(path) in PUBLISHED and not Path(path).is_file():
        path = download(str(path))
    path = Path(path)
    if path.is_file() and path.stat().st_size == CLOTH_SEG_BYTES:
        warnings.warn(OFF_BY_ONE, stacklevel=1)  # once, whoever calls
    return path


def download(name: str) -> Path:
    """The checked file of published weights in the cache folder. Raises UserError."""
    file, md5 = f"{name}.onnx", PUBLISHED[name].md5
    folder = cache_folder() / "weights"
    address = f"{(os.environ.get(MIRROR) or RELEASE).rstrip('/')}/{file}"
    by_hand = f"download {address} in a browser, save it as {folder / file} and try again"
    if (kept := folder / file).is_file() and digest(kept, method="md5") == md5:
        return kept
    import pooch
    import requests
    from filelock import FileLock

    pooch.get_logger().setLevel("ERROR")
    store = pooch.create(folder, "", registry={file: f"md5:{md5}"}, urls={file: address}, retry_if_failed=TRIES - 1)
    make_writable_folder(folder)
    try:
        with FileLock(folder / f".{file}.lock"):  # of two processes, the second finds the first one's file
            return Path(store.fetch(file, downloader=partial(_download, part=folder / f".{file}.part")))
    except requests.HTTPError as error:
        reason = f"the server answers {error.response.status_code} {error.response.reason}"
    except requests.exceptions.ChunkedEncodingError:
        reason = "the connection was cut off; the next try continues"
    except (requests.ConnectionError, requests.Timeout):
        reason = "no connection to the server"
    except requests.RequestException as error:
        reason = one_line(error)
    except ValueError:
        reason = "its MD5 sum is wrong"
    except OSError as error:
        if is_disk_full(error):
            raise FullDiskError(f"no space left in {folder} for {file}; free some and try again") from None
        reason = one_line(error)
    raise UserError(f"cannot download the weights {name} ({reason}); {by_hand}")


def _download(url: str, target: str, _store: object, part: Path) -> None:
    """Download to ``part``, from where an earlier try ended, and rename it to ``target``; pooch checks it there."""
    import requests
    from tqdm import tqdm

    begun = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={begun}-"} if begun else {})
    with requests.get(url, headers=headers, stream=True, timeout=SECONDS) as reply:
        if reply.status_code == requests.codes.requested_range_not_satisfiable:  # there is nothing after the part
            shutil.move(part, target)
            return
        reply.raise_for_status()
        begun = begun if reply.status_code == requests.codes.partial_content else 0
        size = begun + int(reply.headers.get("Content-Length", 0))
        with (
            part.open("ab" if begun else "wb") as file,
            tqdm(total=size or None, initial=begun, unit="B", unit_scale=True, desc=Path(url).name) as progress,
        ):
            for block in reply.iter_content(1 << 16):
                progress.update(file.write(block))
                if file.tell() > MAX_BYTES:  # its sum will be wrong
                    break
    if part.stat().st_size < size:
        raise requests.exceptions.ChunkedEncodingError("cut off")
    shutil.move(part, target)
