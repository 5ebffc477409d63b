"""Weight files as ONNX that engines run: with this project's description inside, made once and cached."""

import json
import mmap
import os
from dataclasses import asdict
from pathlib import Path

from networks.weights.info import CheckpointInfo
from utils.cache import cached, digest

VERSION = 1  # of the conversion: raise it when the converted file changes


def read_info(path: str | Path) -> CheckpointInfo:
    """What a weight file says of itself; from the cache, where this file was seen before. Raises UserError."""
    path = Path(path)

    def read() -> bytes:
        from networks.weights.checkpoint import read_info as read_from_file

        return json.dumps(asdict(read_from_file(path))).encode()

    return CheckpointInfo.of(json.loads(cached(f"{_digest(path)}.{VERSION}.json", read)), path)


def converted_onnx(path: str | Path, bf16: bool = False) -> bytes:
    """The ONNX model of a weight file: normalised images N x 3 x h x w in, fused logits out. Raises UserError.

    bf16: with weights that an engine can compute with in bf16, see networks/engines/rounding.py.
    """
    path = Path(path)

    def convert() -> bytes:
        from networks.onnx_model import onnx_for_engines
        from networks.weights.checkpoint import load_network

        return onnx_for_engines(*load_network(path), bf16)

    return cached(f"{_digest(path)}.{VERSION}{'.bf16' if bf16 else ''}.onnx", convert)


def _digest(path: Path) -> str:
    """Of a weight file, and of the files beside it that an ONNX graph keeps its weights in."""
    try:
        return digest(path, *_external_files(path))
    except OSError:
        from networks.weights.foreign import kind_of

        kind_of(path)  # says what is wrong with it
        raise


def _external_files(path: Path) -> list[Path]:
    """The files beside it whose names an ONNX graph with external weights contains, found without reading the graph."""
    if path.stat().st_size == 0:
        return []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"location") < 0:  # the key of every external tensor
            return []
        names = sorted(other.name for other in path.parent.iterdir() if other != path and other.is_file())
        return [path.with_name(name) for name in names if content.find(os.fsencode(name)) >= 0]
