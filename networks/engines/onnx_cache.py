"""Weight files as ONNX that engines run: with this project's description inside, made once and cached."""

import json
import mmap
import os
from dataclasses import asdict
from functools import cached_property, lru_cache
from pathlib import Path

from networks.weights.info import CheckpointInfo
from utils.cache import cached, digest

VERSION = 1  # of the conversion: raise it when the converted file changes


class CachedWeights:
    """A weight file whose description and ONNX model are made once and kept in the cache. Raises UserError.

    key: text that belongs to its content, and to that of the files an ONNX graph keeps its weights in.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.key = f"{_digest(self.path)}.{VERSION}"

    @cached_property
    def info(self) -> CheckpointInfo:
        """What the file says of itself."""

        def read() -> bytes:
            from networks.weights.checkpoint import read_info

            return json.dumps(asdict(read_info(self.path))).encode()

        return CheckpointInfo.of(json.loads(cached(f"{self.key}.json", read)), self.path)

    def onnx(self) -> bytes:
        """The ONNX model: normalised images N x 3 x h x w in, fused logits out."""

        def convert() -> bytes:
            from networks.onnx_model import onnx_for_engines
            from networks.weights.checkpoint import load_network

            return onnx_for_engines(*load_network(self.path))

        return cached(f"{self.key}.onnx", convert)


def _digest(path: Path) -> str:
    """Of a weight file, and of the files that an ONNX graph keeps its weights in."""
    try:
        files = path, *_external_files(path)
        return _digest_of(files, tuple((file.stat().st_size, file.stat().st_mtime_ns) for file in files))
    except OSError:
        from networks.weights.foreign import kind_of

        kind_of(path)  # says what is wrong with it
        raise


@lru_cache
def _digest_of(files: tuple[Path, ...], stamps: tuple[tuple[int, int], ...]) -> str:
    """stamps: size and time of each file: as long as they stay, a file is read once in a process."""
    return digest(*files)


def _external_files(path: Path) -> list[Path]:
    """The files beside it whose names an ONNX graph with external weights contains, found without reading the graph."""
    if path.stat().st_size == 0:
        return []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"location") < 0:  # the key of every external tensor
            return []
        names = sorted(other.name for other in path.parent.iterdir() if other != path and other.is_file())
        return [path.with_name(name) for name in names if content.find(os.fsencode(name)) >= 0]
