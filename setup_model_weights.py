"""Fit published saliency weights with a clothes head: python setup_model_weights.py (see --help)."""

from options.setup_options import START_WEIGHTS, SetupOptions

if __name__ == "__main__":
    options = SetupOptions.from_command_line()  # before the imports that take seconds

from pathlib import Path

import torch

from data.classes import load_class_table
from networks.u2net import build_network
from networks.weights.checkpoint import read_weights, save_checkpoint
from networks.weights.info import CheckpointInfo
from networks.weights.published import PUBLISHED, local_weights
from networks.weights.surgery import initialise
from utils.errors import UserError, one_line, run_program
from utils.files import temporary_folder

GOOGLE_DRIVE = "https://drive.google.com/uc?id="
REASON_LENGTH = 600  # characters


def main(options: SetupOptions) -> None:
    weights = options.weights or published_weights(options.model, Path(options.save_dir))
    classes = load_class_table(options.class_map)
    torch.manual_seed(options.seed)
    network = build_network(options.model, len(classes.names))
    start = initialise(network, weights, classes.names)
    result = Path(options.save_dir) / Path(START_WEIGHTS[options.model]).name
    if result.exists():
        print(f"replacing {result}")
    save_checkpoint(result, network, CheckpointInfo(classes.names))
    head = f"{start.head} of the head initialised for {len(classes.names)} classes"
    print(f"{weights}: {start.copied} tensors copied, {head}")
    print(f"wrote {result}")


def published_weights(model: str, folder: Path) -> Path:
    """The published .pth from Google Drive; where that fails, the same as .onnx from a release. Raises UserError."""
    target = folder / f"{model}.pth"
    if not target.exists():
        try:
            download(PUBLISHED[model].google_drive, target)
        except UserError as error:
            print(f"{error}; trying the release instead")
            return local_weights(model)
    return target


def download(drive_id: str, target: Path) -> None:
    """Fetch published weights into a folder of this process, check that they load, move them. Raises UserError."""
    url = GOOGLE_DRIVE + drive_id
    with temporary_folder(target.parent) as folder:
        temporary = folder / target.name
        try:
            import gdown  # here, as other weights come without it

            gdown.download(url, str(temporary))
            read_weights(temporary)
            temporary.replace(target)
        except UserError as error:
            raise UserError(f"what came from {url} is not a checkpoint ({error})") from None
        except Exception as error:  # gdown lets requests' and its own exceptions through
            # gdown says the reason (a quota, a missing permission) in lines below its heading.
            raise UserError(f"the download of {url} failed ({one_line(error)[:REASON_LENGTH]})") from None


if __name__ == "__main__":
    run_program(main, options)
