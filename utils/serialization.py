"""torch.load and torch.save as this project uses them: nothing from a file is run, files are whole or absent."""

import pathlib
import pickle
import re
import zipfile
from pathlib import Path
from threading import Lock

import numpy as np
import torch

from utils.errors import UserError
from utils.files import write_atomically

PLAIN_STATE = "save the plain state dict instead (torch.save(network.state_dict(), ...))"


class PickledDtype:
    """A NumPy dtype as pickles write it. NumPy's own would take objects and any state from the file."""

    def __init__(self, code: str, *_):
        if not re.fullmatch(r"[?biufcSUmM]\d*", code):
            raise pickle.UnpicklingError(f"GLOBAL numpy.{code} (an array of objects)")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class PickledArray:
    """What stands for a NumPy array next to the weights: its values are not read."""

    def __init__(self, *_):
        pass

    def __setstate__(self, state: tuple) -> None:
        pass


def pickled_number(kind: PickledDtype, raw: bytes) -> object:
    """A NumPy scalar as pickles write it, as Python's own number."""
    return np.frombuffer(raw, kind.dtype)[0].item()


def pickled_nothing() -> bytes:
    """The bytes of an empty array. Python's own ``bytes`` would make as many as the file asks for."""
    return b""


# What may stand next to tensors, under the names that the files have: NumPy 1 and 2 and Python 3.13 renamed some.
HARMLESS = [
    (PickledDtype, "numpy.dtype"),
    (PickledArray, "numpy.ndarray"),
    *((pickled_number, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((PickledArray, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    *((pickled_nothing, f"{module}.bytes") for module in ("builtins", "__builtin__")),
]
for module in ("pathlib", "pathlib._local"):
    for system in (pathlib.PurePosixPath, pathlib.PureWindowsPath):  # the other system's real paths cannot be made
        pure = system.__name__
        HARMLESS += [(system, f"{module}.{pure}"), (system, f"{module}.{pure.removeprefix('Pure')}")]

_LOADING = Lock()  # what torch.load takes for safe is one list for all threads


def load_safely(path: Path, mmap: bool = False) -> object:
    """torch.load that runs no code from the file, on the CPU. Raises UserError.

    NumPy numbers come back as Python's, paths as pure ones, arrays without values; every other object is refused.
    mmap: tensors are read from disk when they are used, for a look at the rest of the file.
    """
    try:
        with _LOADING, torch.serialization.safe_globals(HARMLESS):
            # Files of PyTorch's first format, as the published .pth are, cannot be mapped.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap and zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise UserError(_refusal(path, str(error))) from None
    except Exception as error:  # a broken pickle can trip the unpickler anywhere
        reason = str(error).strip().splitlines()
        # PyTorch advises to load such files unsafely; that advice is not passed on.
        said = f": {reason[0]}" if reason and "weights_only" not in reason[0] else ""
        raise UserError(f"cannot read {path} (truncated, or not a checkpoint){said}") from None


def _refusal(path: Path, reason: str) -> str:
    found = re.search(r"GLOBAL ([\w.]+)", reason)
    if not found:
        return f"{path} is refused: it is not a checkpoint, or loading it would run code from the file; {PLAIN_STATE}"
    name = found[1]
    if name.startswith("torch.nn.modules.") or re.search(r"U2NET|u2net", name):
        return (
            f"{path} is refused: it is a whole pickled network ({name}), and loading it would run code; {PLAIN_STATE}"
        )
    return f"{path} is refused: it holds {name} as well as weights, and loading that could run code; {PLAIN_STATE}"


def save_atomically(content: object, path: Path) -> None:
    """torch.save to a file that is whole or absent. Raises UserError when it cannot be written."""
    write_atomically(path, lambda file: torch.save(content, file))
