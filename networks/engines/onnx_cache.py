"""Weight files as models that engines run: with this project's description inside, made once and cached."""

import json
import mmap
import os
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

from networks.engines.openvino_engine import read_openvino_info
from networks.weights.info import CheckpointInfo
from networks.weights.published import local_weights
from utils.cache_folder import cached, digest
from utils.errors import UserError

VERSION = 2  # of the conversion: raise it when the converted file changes


class CachedWeights:
    """A weight file whose description and ONNX model are made once and kept in the cache. Raises UserError.

    key: text that belongs to its content, and to that of the files that it keeps its weights in.
    """

    def __init__(self, path: str | Path):
        self.path = local_weights(path)
        self._is_openvino = self.path.suffix.lower() == ".xml"  # export.py wrote it, and OpenVINO alone runs it
        self.key = f"{_digest(self.path)}.{VERSION}"

    @cached_property
    def info(self) -> CheckpointInfo:
        """What the file says of itself."""

        def read() -> bytes:
            if self._is_openvino:
                return json.dumps(asdict(read_openvino_info(self.path))).encode()
            from networks.weights.checkpoint import read_info  # imports PyTorch

            return json.dumps(asdict(read_info(self.path))).encode()

        return CheckpointInfo.of(json.loads(cached(f"{self.key}.json", read)), self.path)

    def model(self) -> bytes | Path:
        """ONNX, or OpenVINO's .xml as it is: normalised images N x 3 x h x w in, fused logits out."""
        if self._is_openvino:
            return self.path

        def convert() -> bytes:
            from networks.onnx_graph import Fused, onnx_model
            from networks.weights.checkpoint import load_network

            network, info = load_network(self.path)
            return onnx_model(Fused(network), info)

        return cached(f"{self.key}.onnx", convert)


def _digest(path: Path) -> str:
    """Of a weight file, and of the files that an ONNX graph or an OpenVINO model keeps its weights in."""
    try:
        return digest(path, *_external_files(path))
    except OSError:
        from networks.weights.foreign import kind_of

        kind_of(path)  # says what is wrong with it
        raise


def _external_files(path: Path) -> list[Path]:
    """The .bin of an OpenVINO .xml, or the files next to an ONNX graph whose names it contains; the graph is not read.

    Raises UserError where the .bin is missing.
    """
    if path.suffix.lower() == ".xml" and path.is_file():
        weights = path.with_suffix(".bin")
        if not weights.is_file():
            raise UserError(f"{path} keeps its weights in {weights.name}, which is not in its folder; put it there")
        return [weights]
    if path.stat().st_size == 0:
        return []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"location") < 0:  # the key of every external tensor
            return []
        names = sorted(other.name for other in path.parent.iterdir() if other != path and other.is_file())
        return [path.with_name(name) for name in names if content.find(os.fsencode(name)) >= 0]
