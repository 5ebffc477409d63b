"""Write a checkpoint in another form: python export.py --checkpoint_path A --output B.pth (see --help)."""

from options.export_options import ExportOptions

if __name__ == "__main__":
    options = ExportOptions.from_command_line()  # before the imports that take seconds

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from data.image_folder import find_photos
from data.photo import PhotoError, open_photo
from networks.checkpoint import load_network
from networks.engines import TorchEngine
from networks.exporters import EXPORTERS, load_exported
from networks.predictor import Predictor
from utils.devices import keep_freed_memory
from utils.errors import UserError, run_program
from utils.files import make_writable_folder

PHOTOS = 20  # that label maps are compared on, at most
LEAST_AGREEMENT = 0.998  # share of their pixels that must keep their label


def main(options: ExportOptions) -> None:
    keep_freed_memory()
    network, info = load_network(options.checkpoint_path)
    size = options.fine_height or info.height, options.fine_width or info.width
    if size != (info.height, info.width):
        info = replace(info, height=size[0], width=size[1], metrics=None)  # they were another size's
    photos = load_photos(Path(options.photos))
    target = Path(options.output)
    make_writable_folder(target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export") as folder:
        draft = Path(folder) / target.name
        EXPORTERS[target.suffix](network, info, draft)
        cpu = torch.device("cpu")
        before = Predictor(TorchEngine(network, cpu), info)
        after = Predictor(TorchEngine(load_exported(draft), cpu), info)
        agreement = float(np.mean([np.mean(before(photo).labels == after(photo).labels) for photo in photos]))
        if agreement < LEAST_AGREEMENT:
            raise UserError(
                f"not exported: only {100 * agreement:.2f} % of the pixels of {len(photos)} photographs keep their "
                f"label, {100 * LEAST_AGREEMENT:g} % must"
            )
        draft.replace(target)
    print(
        f"wrote {target} ({target.stat().st_size / 1e6:.1f} MB), to predict at {size[1]}x{size[0]}; input normalised "
        f"with mean {info.mean:g} and std {info.std:g}; {100 * agreement:.3f} % of the pixels of {len(photos)} "
        "photographs keep their label"
    )


def load_photos(folder: Path) -> list:
    """The first photographs of a folder that can be read, as RGB images. Raises UserError where there are none."""
    photos = []
    for path in find_photos(folder):
        try:
            photos.append(open_photo(folder / path))
        except PhotoError:
            continue
        if len(photos) == PHOTOS:
            break
    if not photos:
        raise UserError(f"no photograph in {folder} can be read; set --photos to a folder of photographs")
    return photos


if __name__ == "__main__":
    run_program(main, options)
