"""Options of the programs below deploy/."""

from dataclasses import dataclass

from options.base_options import BaseOptions, option

SHIPPED_CHECKPOINT = "trained_checkpoint/cloth_segm_u2netp.pth"


@dataclass
class ArchiveOptions(BaseOptions):
    """Build the model archive that TorchServe loads."""

    checkpoint_path: str = option(SHIPPED_CHECKPOINT, "weights: .pth of any published form, or .onnx")
    output_dir: str = option("deploy/model_store", "folder of the archive, cloth_seg.mar")
    model_config: str = option("deploy/model-config.yaml", "batch size, workers, timeouts, precision, limits")


@dataclass
class TorchScriptOptions(BaseOptions):
    """Trace the network into a TorchScript file, for programs that load one; the archive does not need it."""

    checkpoint_path: str = option(SHIPPED_CHECKPOINT, "weights: .pth of any published form, or .onnx")
    output: str = option("deploy/torchscript.pt", "file to write")
