"""Build the model archive that TorchServe loads: python deploy/build_archive.py (see --help)."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from options.deploy_options import ArchiveOptions

if __name__ == "__main__":
    options = ArchiveOptions.from_command_line()  # before the imports that take seconds

import io
import json
import math
import tempfile
import zipfile
from dataclasses import fields

from deploy.request import Limits
from networks.engines.settings import EngineSettings
from networks.weights.checkpoint import load_network, save_checkpoint
from networks.weights.foreign import kind_of
from networks.weights.info import CheckpointInfo
from networks.weights.published import local_weights
from utils.documents import read_document
from utils.errors import UserError, run_program
from utils.files import say_replaced, write_atomically

NAME = "cloth_seg"  # of the model, and so of its route: /predictions/cloth_seg
# What the server runs, and little more: it trains, measures and exports nothing.
ROOMS = ("data/photos", "data/results", "networks/engines", "networks/weights", "utils")
MODULES = (
    *(f"data/{name}.py" for name in ("__init__", "classes", "constants")),
    *(f"networks/{name}.py" for name in ("__init__", "folding", "onnx_graph", "predictor", "u2net")),
    "deploy/reply.py",
    "deploy/request.py",
)
NEEDED = {"batchSize", "maxWorkers", "handler"}  # settings that the handler reads
TIMEOUTS = {"responseTimeout", "startupTimeout", "maxRetryTimeoutInSec"}  # TorchServe would pass over a wrong value
COUNTS = {"batchSize", "minWorkers", "maxWorkers", "instances", *TIMEOUTS}
SETTINGS = {"engine", "precision", "height", "width", "flip", "limits"}  # of the section handler
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # a zip's earliest date


def main(options: ArchiveOptions) -> None:
    target = Path(options.output_dir) / f"{NAME}.mar"
    content = archive(contents(Path(options.checkpoint_path), Path(options.model_config)))
    say_replaced([target])
    write_atomically(target, content)
    print(f"wrote {target} ({target.stat().st_size / 1e6:.1f} MB) with {options.checkpoint_path}")


def contents(checkpoint: Path, model_config: Path) -> dict[str, bytes]:
    """Files of the archive by name: manifest, handler, the program's packages, settings, weights. Raises UserError."""
    weights = f"{NAME}.pth"
    manifest = {
        "runtime": "python",
        "model": {
            "modelName": NAME,
            "modelVersion": "1.0",
            "handler": "handler.py",
            "serializedFile": weights,
            "configFile": "model-config.yaml",
        },
        "archiverVersion": "0.12.0",
    }
    sources = [path for room in ROOMS for path in (ROOT / room).glob("*.py")] + [ROOT / path for path in MODULES]
    return {
        "MAR-INF/MANIFEST.json": json.dumps(manifest, indent=2).encode(),
        "handler.py": (ROOT / "deploy/handler.py").read_bytes(),
        **{path.relative_to(ROOT).as_posix(): path.read_bytes() for path in sources},
        "model-config.yaml": _settings(model_config),
        weights: _weights(checkpoint),
    }


def _weights(checkpoint: Path) -> bytes:
    """A .pth file for the server: the given one, or one with the weights of a file of another kind. Raises UserError.

    Other kinds may need packages that the server lacks, or weights in a file beside them.
    """
    checkpoint = local_weights(checkpoint)
    network, info = load_network(checkpoint)  # refuses here what would only fail in the server
    if kind_of(checkpoint) == "torch":
        return checkpoint.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{NAME}.pth"
        save_checkpoint(path, network, info)
        return path.read_bytes()


def _settings(path: Path) -> bytes:
    settings = read_document(path, "file of settings")
    missing = NEEDED - set(settings if isinstance(settings, dict) else ())
    if missing:
        raise UserError(f"the settings {path} lack {', '.join(sorted(missing))}; start from deploy/model-config.yaml")
    handler = settings["handler"]
    _check_names(handler, SETTINGS, "handler", path)
    _check_names(handler["limits"], {field.name for field in fields(Limits)}, "limits", path)
    numbers = {name: settings[name] for name in COUNTS & settings.keys()} | handler["limits"]
    for name, value in numbers.items():
        if type(value) not in ((int,) if name in COUNTS else (int, float)) or not 0 < value < math.inf:
            kind = "whole number" if name in COUNTS else "number"
            raise UserError(f"the settings {path}: {name} is {value!r}; it must be a {kind} over 0")
    try:
        if type(handler["flip"]) is not bool:
            raise UserError(f"flip is {handler['flip']!r}; it must be true or false")
        EngineSettings(handler["engine"], precision=handler["precision"])
        CheckpointInfo().resized(handler["height"], handler["width"])
    except UserError as error:
        raise UserError(f"the settings {path}: {error}") from None
    return path.read_bytes()


def _check_names(section: object, names: set[str], title: str, path: Path) -> None:
    """Raise UserError unless a section of the settings has exactly these names; a worker would die of it."""
    given = set(section) if isinstance(section, dict) else set()
    if given != names:
        faults = [f"lacks {name}" for name in sorted(names - given)]
        faults += [f"has the unknown {name}" for name in sorted(map(str, given - names))]
        raise UserError(f"the section {title} of the settings {path} {', '.join(faults)}")


def archive(files: dict[str, bytes]) -> bytes:
    """A model archive: a zip with its files in order of name and no trace of when it was made.

    torch-model-archiver writes the time of the build into it. Here the same files make the same bytes, so a checksum
    tells whether two servers run the same program, settings and weights.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, LONG_AGO)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, files[name])
    return buffer.getvalue()


if __name__ == "__main__":
    run_program(main, options)
