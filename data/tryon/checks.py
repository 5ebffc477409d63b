"""What try-on programs will stumble over in a data set, beside the files that infer.py writes."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from data.photos.open import orientation
from data.tryon.presets import AGNOSTIC_MASK, CLOTH_MASK, GREYED, PRESETS

MASKS = {file for kinds in PRESETS.values() for kind in kinds for file in kind.files} - {GREYED}
# What loaders of agnostic masks read as well: file beside or below the folder of the photos -> what to do without it.
ALSO_READ = {
    "IDM-VTON": ("vitonhd_test_tagged.json", 'a file with {} will do, and every caption is "shirts"'),
    "CatVTON": ("../test_pairs_unpaired.txt", "copy test_pairs.txt to that name"),
}
FEWEST_WHITE = 122_880  # pixels of a garment's mask: StableVITON takes one with fewer for a broken file


def findings(preset: str, result_dir: Path, photos: Iterable[tuple[Path, dict[tuple[str, str], Path]]]) -> list[str]:
    """One line for each thing to mend. photos: (photo, its written files), as infer.py's jobs have them."""
    turned, misnamed, empty, small, sizes = [], [], [], [], Counter()
    for photo, results in photos:
        masks = [(file, path) for (file, _), path in results.items() if file in MASKS]
        written = (path for (file, _), path in results.items() if file.endswith("/{name}") and file not in MASKS)
        by_stem = any("{stem}" in file for file, _ in masks)  # which loaders make by replacing .jpg
        if len(photo.name.split()) > 1 or (by_stem and photo.suffix != ".jpg"):
            misnamed.append(photo)
        try:
            for file, path in masks:
                with Image.open(path) as mask:
                    white = np.count_nonzero(np.asarray(mask) >= 128)
                if white == 0:
                    empty.append(path)
                elif white < FEWEST_WHITE and file == CLOTH_MASK:
                    small.append(path)
            with Image.open(next(written, photo)) as image:
                sizes[image.size] += 1
                if orientation(image) != 1:
                    turned.append(photo)
        except Exception:  # moved meanwhile, or with metadata at which Pillow's decoders raise what they like
            continue
    found = {
        "photos with an EXIF rotation, which the loaders ignore (--size writes them upright)": turned,
        "photos whose names most loaders cannot use; rename them, without spaces and ending in .jpg": misnamed,
        "empty masks, at which DCI-VTON stops and others paint nothing": empty,
        f"masks of garments with fewer than {FEWEST_WHITE:,} white pixels, which StableVITON ignores": small,
    }
    lines = [f"{what}: {len(paths)} (the first: {paths[0]})" for what, paths in found.items() if paths]
    if len(sizes) > 1:
        common = ", ".join(f"{count} of {width}x{height}" for (width, height), count in sizes.most_common(3))
        lines.append(f"photos have {len(sizes)} sizes ({common}): most loaders want one for all; see --size")
    return lines + missing_files(preset, result_dir)


def missing_files(preset: str, result_dir: Path) -> list[str]:
    """Those of ALSO_READ that a data set's test folder does not have."""
    test = result_dir.resolve()
    if test.name != "test" or not any(AGNOSTIC_MASK in kind.files for kind in PRESETS[preset]):
        return []
    wanted = [(project, (test / name).resolve(), what) for project, (name, what) in ALSO_READ.items()]
    return [f"{project} reads {path}, which is missing: {what}" for project, path, what in wanted if not path.is_file()]
