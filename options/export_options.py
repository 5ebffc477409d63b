"""Options of export.py."""

from dataclasses import dataclass

from options.base_options import BaseOptions, option
from utils.errors import UserError


@dataclass
class ExportOptions(BaseOptions):
    """Make a checkpoint small enough to hand out: half precision, without what only training needs."""

    checkpoint_path: str | None = option(None, "weights: .pth of any published form, or .onnx")
    output: str | None = option(None, "file to write, .pth")
    fine_width: int | None = option(None, "width to predict at; default: what the checkpoint says", at_least=32)
    fine_height: int | None = option(None, "height to predict at; default: what the checkpoint says", at_least=32)

    def check(self) -> None:
        super().check()
        for name in ("checkpoint_path", "output"):
            if not getattr(self, name):
                raise UserError(f"--{name} is missing (see --help)")
        if not self.output.endswith(".pth"):
            raise UserError(f"--output {self.output} must end in .pth")
