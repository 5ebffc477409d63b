"""Duplicate photos: the same file, or the same picture re-encoded, resized or slightly cropped."""

import hashlib
import io
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from data.photos.open import PhotoError, open_photo
from utils.prefetch import prefetch
from utils.ranks import cores

THUMBNAIL = 32  # pixels a side
HASH_BYTES = 16
LARGEST_DISTANCE = 15  # of 128 bits: a pair that differs in more is not looked at
LEAST_CORRELATION = 0.85  # of the thumbnails: measured in docs/evaluate.md
BLOCK = 256  # hashes compared with all others at once


@dataclass
class Fingerprints:
    """What is kept of P photos, row by row.

    content: digest of each file. thumbnails: P x 32 x 32 x 3 uint8 RGB. broken: why a photo cannot be decoded, by its
    row; such a row holds zeros.
    """

    content: list[bytes]
    thumbnails: np.ndarray
    broken: dict[int, str]


@dataclass
class Pair:
    """Rows of two alike photos. similarity: correlation of their thumbnails; None for identical files."""

    first: int
    second: int
    similarity: float | None = None


def read_fingerprints(files: list[Path]) -> Fingerprints:
    """Read every photo once, on all cores."""
    result = Fingerprints([], np.zeros((len(files), THUMBNAIL, THUMBNAIL, 3), np.uint8), {})
    with ThreadPoolExecutor(cores()) as pool:
        reading = prefetch(pool, _digest_and_thumbnail, files, 4 * cores())
        for row, (_, future) in enumerate(tqdm(reading, "reading photos", len(files), leave=False)):
            digest, thumbnail, fault = future.result()
            result.content.append(digest)
            if fault:
                result.broken[row] = fault
            else:
                result.thumbnails[row] = thumbnail
    return result


def find_pairs(fingerprints: Fingerprints) -> list[Pair]:
    """Pairs of identical files, then of near-duplicates, most alike first.

    Identical files make one group, of which the first stands for all the others. Near-duplicates are pairs whose
    hashes differ in at most 15 of 128 bits and whose thumbnails correlate by at least 0.85.
    """
    groups: dict[bytes, list[int]] = defaultdict(list)
    for row, digest in enumerate(fingerprints.content):
        groups[digest].append(row)
    identical = [Pair(rows[0], other) for rows in groups.values() for other in rows[1:]]

    rows = np.array([rows[0] for rows in groups.values() if rows[0] not in fingerprints.broken], np.int64)
    near = []
    for a, b in _close_hashes([difference_hash(fingerprints.thumbnails[row]) for row in rows]):
        similarity = correlation(fingerprints.thumbnails[rows[a]], fingerprints.thumbnails[rows[b]])
        if similarity >= LEAST_CORRELATION:
            near.append(Pair(int(rows[a]), int(rows[b]), similarity))
    return identical + sorted(near, key=lambda pair: -pair.similarity)


def difference_hash(thumbnail: np.ndarray) -> np.ndarray:
    """Whether each cell of an 8 x 8 grid is darker than the next one, along rows and along columns: 16 uint8.

    thumbnail: h x w x 3 uint8 RGB. Source: Krawetz, "Kind of Like That" (2013), with the columns added.
    """
    grey = cv2.cvtColor(thumbnail, cv2.COLOR_RGB2GRAY).astype(np.float32)
    wide = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    tall = cv2.resize(grey, (8, 9), interpolation=cv2.INTER_AREA)
    return np.packbits(np.concatenate([(wide[:, 1:] > wide[:, :-1]).ravel(), (tall[1:] > tall[:-1]).ravel()]))


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's, over all pixels of two arrays of one shape: blind to brightness and contrast. 0 for a flat one."""
    a, b = (array.astype(np.float32).ravel() - array.mean() for array in (one, other))
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-6))


def _close_hashes(hashes: list[np.ndarray]) -> Iterator[tuple[int, int]]:
    """Pairs (a < b) of rows at most 15 bits apart, in order. hashes: 16 uint8 each."""
    words = np.array(hashes, np.uint8).reshape(-1, HASH_BYTES).view(np.uint64)  # P x 2
    for start in tqdm(range(0, len(words), BLOCK), "comparing photos", leave=False):
        block, others = words[start : start + BLOCK], words[start:]
        distance = np.zeros((len(block), len(others)), np.uint8)
        for word in range(words.shape[1]):
            distance += np.bitwise_count(block[:, word, None] ^ others[:, word])
        a, b = np.nonzero(distance <= LARGEST_DISTANCE)
        yield from ((start + int(i), start + int(j)) for i, j in zip(a, b, strict=True) if i < j)


def _digest_and_thumbnail(path: Path) -> tuple[bytes, np.ndarray | None, str | None]:
    """Digest of a file, its thumbnail, and why there is none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return str(path).encode(), None, f"cannot be read: {error.strerror}"
    digest = hashlib.blake2b(content, digest_size=16).digest()
    try:
        # Through twice the size, which lets a JPEG decoder skip most of its work.
        photo = open_photo(io.BytesIO(content), (2 * THUMBNAIL, 2 * THUMBNAIL), upright=False)
    except PhotoError as error:
        return digest, None, str(error)
    return digest, np.asarray(photo.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)), None
