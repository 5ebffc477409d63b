"""torch.load and torch.save as this project uses them: nothing from a file is run, files are whole or absent."""

import pickle
from pathlib import Path

import torch

from utils.errors import UserError
from utils.files import write_atomically


def load_safely(path: Path, mmap: bool = False) -> object:
    """torch.load that runs no code from the file, on the CPU. Raises UserError.

    mmap: tensors are read from disk when they are used, for a look at the rest of the file.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError:
        raise UserError(
            f"{path} is refused: it is not a checkpoint, or loading it would run code from the file; "
            "save the plain state dict instead (torch.save(network.state_dict(), ...))"
        ) from None
    except Exception as error:  # a broken pickle can trip the unpickler anywhere
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"cannot read {path} (truncated, or not a checkpoint): {reason[0]}") from None


def save_atomically(content: object, path: Path) -> None:
    """torch.save to a file that is whole or absent. Raises UserError when it cannot be written."""
    write_atomically(path, lambda file: torch.save(content, file))
