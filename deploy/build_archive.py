"""Build the model archive that TorchServe loads: python deploy/build_archive.py (see --help)."""

import io
import json
import sys
import zipfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from networks.checkpoint import load_network  # noqa: E402
from options.deploy_options import ArchiveOptions  # noqa: E402
from utils.errors import UserError, run_program  # noqa: E402
from utils.files import write_atomically  # noqa: E402

NAME = "cloth_seg"  # of the model, and so of its route: /predictions/cloth_seg
PACKAGES = ("data", "networks", "utils")
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # a zip's earliest date: the same content makes the same bytes


def main() -> None:
    options = ArchiveOptions.parse()
    load_network(options.checkpoint_path)  # refuses here what would only fail in the server
    target = Path(options.output_dir) / f"{NAME}.mar"
    write_atomically(target, archive(contents(Path(options.checkpoint_path), Path(options.model_config))))
    print(f"wrote {target} ({target.stat().st_size / 1e6:.1f} MB) with {options.checkpoint_path}")


def contents(checkpoint: Path, model_config: Path) -> dict[str, bytes]:
    """Files of the archive by name: manifest, handler, the program's packages, settings, weights. Raises UserError."""
    weights = f"{NAME}{checkpoint.suffix.lower()}"
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
    sources = [path for package in PACKAGES for path in (ROOT / package).glob("*.py")]
    return {
        "MAR-INF/MANIFEST.json": json.dumps(manifest, indent=2).encode(),
        "handler.py": (ROOT / "deploy/handler.py").read_bytes(),
        "deploy/protocol.py": (ROOT / "deploy/protocol.py").read_bytes(),
        **{path.relative_to(ROOT).as_posix(): path.read_bytes() for path in sources},
        "model-config.yaml": _settings(model_config),
        weights: checkpoint.read_bytes(),
    }


def _settings(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        settings = yaml.safe_load(content)
    except OSError as error:
        raise UserError(f"cannot read the settings {path}: {error.strerror}") from None
    except yaml.YAMLError:
        raise UserError(f"the settings {path} are no valid YAML") from None
    if not isinstance(settings, dict) or not isinstance(settings.get("handler"), dict):
        raise UserError(f"the settings {path} lack the section handler; start from deploy/model-config.yaml")
    return content


def archive(files: dict[str, bytes]) -> bytes:
    """A model archive: a zip with its files in order of name and no trace of when it was made."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, LONG_AGO)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, files[name])
    return buffer.getvalue()


if __name__ == "__main__":
    run_program(main)
