"""Fit published saliency weights with a clothes head: python setup_model_weights.py (see --help)."""

from options.setup_options import START_WEIGHTS, SetupOptions

if __name__ == "__main__":
    options = SetupOptions.from_command_line()  # before the imports that take seconds

from pathlib import Path

import gdown
import torch

from data.classes import load_class_table
from networks.u2net import build_network
from networks.weights.checkpoint import read_weights, save_checkpoint
from networks.weights.info import CheckpointInfo
from networks.weights.surgery import initialise
from utils.errors import UserError, one_line, run_program
from utils.files import make_writable_folder

GOOGLE_DRIVE = "https://drive.google.com/uc?id="
REASON_LENGTH = 600  # characters
# Google Drive ids of the weights that U-2-Net publishes
PUBLISHED = {"u2net": "1ao1ovG1Qtx4b7EoskHXmi2E9rp5CHLcZ", "u2netp": "1rbSTGKAE-MTxBYHd-51l2hMOQPT_7EPy"}


def main(options: SetupOptions) -> None:
    save_dir = Path(options.save_dir)
    weights = Path(options.weights) if options.weights else save_dir / f"{options.model}.pth"
    if not options.weights and not weights.exists():
        download(PUBLISHED[options.model], weights)

    classes = load_class_table(options.class_map)
    torch.manual_seed(options.seed)
    network = build_network(options.model, len(classes.names))
    copied, left = initialise(network, weights)
    result = save_dir / Path(START_WEIGHTS[options.model]).name
    if result.exists():
        print(f"replacing {result}")
    save_checkpoint(result, network, CheckpointInfo(classes.names))
    print(f"{weights}: {copied} tensors copied, {left} of the head initialised for {len(classes.names)} classes")
    print(f"wrote {result}")


def download(drive_id: str, target: Path) -> None:
    """Fetch published weights to a temporary name, check that they load, rename. Raises UserError."""
    url = GOOGLE_DRIVE + drive_id
    by_hand = f"download {url} in a browser, then run python setup_model_weights.py --weights FILE"
    make_writable_folder(target.parent)
    temporary = target.with_name(f"{target.stem}.download.pth")
    try:
        gdown.download(url, str(temporary))
        read_weights(temporary)
        temporary.replace(target)
    except UserError as error:
        raise UserError(f"what came from {url} is not a checkpoint ({error}); {by_hand}") from None
    except Exception as error:  # gdown lets requests' and its own exceptions through
        raise UserError(f"the download failed ({reason_of(error)}); {by_hand}") from None
    finally:
        for leftover in target.parent.glob(f"{temporary.name}*"):
            leftover.unlink()


def reason_of(error: Exception) -> str:
    """All that an error says, in one line: gdown gives the reason (a quota, a missing permission) below its heading."""
    words = one_line(error)
    return words if len(words) <= REASON_LENGTH else f"{words[:REASON_LENGTH]} ..."


if __name__ == "__main__":
    run_program(main, options)
