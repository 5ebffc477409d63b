"""What try-on programs will stumble over in a data set, beside the files that infer.py writes."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from data.photos.open import orientation

MASK_FOLDERS = ("cloth-mask", "agnostic-mask", "masks", "agnostic_masks", "cloth_mask-bytedance")
FEWEST_WHITE = 122_880  # pixels of a garment's mask: StableVITON takes one with fewer for a broken file


def findings(preset: str, result_dir: Path, photos: Iterable[tuple[Path, dict[tuple[str, str], Path]]]) -> list[str]:
    """One line for each thing to mend. photos: (photo, its written files), as infer.py's jobs have them."""
    turned, empty, small, sizes = [], [], [], Counter()
    for photo, results in photos:
        written = next((path for path in results.values() if path.parent.name in ("cloth", "image", "images")), photo)
        try:
            with Image.open(written) as image:
                sizes[image.size] += 1
                if orientation(image) != 1:
                    turned.append(photo)
        except OSError:  # moved meanwhile
            continue
        for path in results.values():
            if path.parent.name in MASK_FOLDERS and path.is_file():
                with Image.open(path) as mask:
                    white = int(np.count_nonzero(np.asarray(mask) >= 128))
                if white == 0:
                    empty.append(path)
                elif white < FEWEST_WHITE and path.parent.name == "cloth-mask":
                    small.append(path)
    lines = [
        _line(turned, "photos have an EXIF rotation, which the loaders ignore; --size writes them upright"),
        _line(empty, "masks are empty: DCI-VTON stops at one, and others paint nothing"),
        _line(small, f"masks of garments have fewer than {FEWEST_WHITE:,} white pixels: StableVITON ignores them"),
    ]
    if len(sizes) > 1:
        common = ", ".join(f"{count} of {width}x{height}" for (width, height), count in sizes.most_common(3))
        lines.append(f"photos have {len(sizes)} sizes ({common}): most loaders want one for all; see --size")
    if preset in ("viton", "agnostic"):
        lines += missing_files(result_dir)
    return [line for line in lines if line]


def missing_files(result_dir: Path) -> list[str]:
    """What is missing of a data set in VITON-HD's layout whose test or train folder ``result_dir`` is."""
    root, lines = result_dir.absolute().parent, []
    if result_dir.absolute().name == "test":
        if not (root / "test_pairs_unpaired.txt").is_file():
            lines.append(f"CatVTON reads {root / 'test_pairs_unpaired.txt'}: copy test_pairs.txt to that name")
        if not (result_dir / "vitonhd_test_tagged.json").is_file():
            lines.append(f"IDM-VTON reads {result_dir / 'vitonhd_test_tagged.json'}: a file with {{}} will do")
    return lines


def _line(paths: list[Path], what: str) -> str | None:
    return f"{len(paths)} {what} (the first: {paths[0]})" if paths else None
