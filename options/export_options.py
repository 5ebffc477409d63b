"""Options of export.py and deploy/convert_to_torchscript.py."""

from dataclasses import dataclass
from pathlib import Path

from networks.weights.info import INCLUDED_WEIGHTS
from options.base_options import SIDE, WEIGHT_FILES, BaseOptions, option, refuse_existing
from utils.errors import UserError

SUFFIXES = (".pth", ".safetensors", ".onnx", ".xml", ".pt")
FOR_OTHER_PROGRAMS = (".onnx", ".xml", ".pt")  # which find class names, size and normalisation in a .json


@dataclass
class ExportOptions(BaseOptions):
    """Write a checkpoint in another form and check it on photos; the suffix of the output decides."""

    checkpoint_path: str = option(help=f"weights: {WEIGHT_FILES}", metavar="FILE")
    output: str = option(
        help="file to write: .pth or .safetensors (half precision), .onnx, .xml (OpenVINO), .pt (TorchScript)",
        metavar="FILE",
    )
    preset: str | None = option(None, "rembg: an .onnx that rembg runs as its u2net_cloth_seg", ("rembg",))
    fine_width: int | None = option(None, "width to predict at; default: the checkpoint's", **SIDE)
    fine_height: int | None = option(None, "height to predict at; default: the checkpoint's", **SIDE)
    photos: str = option("input_images", "folder of photos to compare label maps on (the first 20)", metavar="FOLDER")

    def resolve(self) -> "ExportOptions":
        super().resolve()
        self.find_defaults("photos")
        suffix = Path(self.output).suffix
        if suffix not in SUFFIXES:
            raise UserError(f"--output {self.output} must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
        if self.preset == "rembg" and suffix != ".onnx":
            raise UserError(f"--preset rembg writes an .onnx file, not {self.output}")
        written = [".bin"] if suffix == ".xml" else []  # OpenVINO's weights lie in a file of their own
        if suffix in FOR_OTHER_PROGRAMS and not self.preset:
            written.append(".json")
        for each in (suffix, *written):
            refuse_existing(str(Path(self.output).with_suffix(each)))
        return self


@dataclass
class TorchScriptOptions(ExportOptions):
    """Trace the network into a TorchScript file, for programs that load one; the archive does not need it."""

    checkpoint_path: str = option(str(INCLUDED_WEIGHTS), f"weights: {WEIGHT_FILES}", metavar="FILE")
    output: str = option("deploy/torchscript.pt", "file to write", metavar="FILE")
