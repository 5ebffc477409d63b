"""Write a checkpoint in another form: python export.py --checkpoint_path A --output B.pth (see --help)."""

from options.export_options import FOR_OTHER_PROGRAMS, ExportOptions

if __name__ == "__main__":
    options = ExportOptions.from_command_line()  # before the imports that take seconds

import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from data.photos.folder import find_photos
from data.photos.open import PhotoError, open_photo
from networks.engines.torch_engine import TorchEngine
from networks.exporters import EXPORTERS, REMBG_SIZE, ForRembg, export_rembg, open_exported, write_description
from networks.predictor import Predictor
from networks.weights.checkpoint import load_network
from utils.errors import UserError, run_program
from utils.files import temporary_folder
from utils.freed_memory import keep_freed_memory

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
    with temporary_folder(target.parent) as folder:
        draft = folder / target.name
        if options.preset == "rembg":
            export_rembg(network, info, draft)
            network = ForRembg(network, info)
            info = replace(info, height=REMBG_SIZE, width=REMBG_SIZE)
        else:
            EXPORTERS[target.suffix](network, info, draft)
            if target.suffix in FOR_OTHER_PROGRAMS:
                write_description(info, draft.with_suffix(".json"))
        before = Predictor(TorchEngine(network, torch.device("cpu")), info)
        after = Predictor(open_exported(draft, info), info)
        agreement = float(np.mean([np.mean(before(photo).labels == after(photo).labels) for photo in photos]))
        if agreement < LEAST_AGREEMENT:
            raise UserError(
                f"not exported: only {100 * agreement:.2f} % of the pixels of {len(photos)} photographs keep their "
                f"label, {100 * LEAST_AGREEMENT:g} % must"
            )
        written = sorted(folder.iterdir())  # the .bin of an .xml and the .json first
        megabytes = sum(path.stat().st_size for path in written) / 1e6
        for path in written:
            shutil.move(path, target.parent / path.name)
    print(
        f"wrote {target} ({megabytes:.1f} MB), input {info.width}x{info.height} normalised with "
        f"{'ImageNet mean and std' if options.preset else f'mean {info.mean:g} and std {info.std:g}'}; "
        f"{100 * agreement:.3f} % of the pixels of {len(photos)} photographs keep their label"
    )


def load_photos(folder: Path) -> list:
    """The first photographs of a folder that can be read, as RGB images. Raises UserError where there are none."""
    photos = []
    for path in find_photos(folder):
        with suppress(PhotoError):
            photos.append(open_photo(folder / path))
        if len(photos) == PHOTOS:
            break
    if not photos:
        raise UserError(f"no photograph in {folder} can be read; set --photos to a folder of photographs")
    return photos


if __name__ == "__main__":
    run_program(main, options)
