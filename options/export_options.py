"""Options of export.py and deploy/convert_to_torchscript.py."""

from dataclasses import dataclass
from pathlib import Path

from networks.checkpoint_info import INCLUDED_WEIGHTS, MAX_SIDE
from options.base_options import BaseOptions, option
from utils.errors import UserError

SUFFIXES = (".pth", ".pt")


@dataclass
class ExportOptions(BaseOptions):
    """Write a checkpoint in another form, checked on photographs: .pth in half precision, or TorchScript (.pt)."""

    checkpoint_path: str = option(help="weights: .pth of any published form, or .onnx")
    output: str = option(help="file to write: .pth (half precision, half as large) or .pt (TorchScript)")
    fine_width: int | None = option(
        None, "width to predict at; default: what the checkpoint says", at_least=32, at_most=MAX_SIDE
    )
    fine_height: int | None = option(
        None, "height to predict at; default: what the checkpoint says", at_least=32, at_most=MAX_SIDE
    )
    photos: str = option("input_images", "folder of photographs to compare label maps on (the first 20)")

    def resolve(self) -> "ExportOptions":
        super().resolve()
        if Path(self.output).suffix not in SUFFIXES:
            raise UserError(f"--output {self.output} must end in {' or '.join(SUFFIXES)}")
        if Path(self.output).exists():
            raise UserError(f"{self.output} exists; remove it first, or choose another --output")
        return self


@dataclass
class TorchScriptOptions(ExportOptions):
    """Trace the network into a TorchScript file, for programs that load one; the archive does not need it."""

    checkpoint_path: str = option(str(INCLUDED_WEIGHTS), "weights: .pth of any published form, or .onnx")
    output: str = option("deploy/torchscript.pt", "file to write")
