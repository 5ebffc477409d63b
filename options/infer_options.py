"""Options of infer.py."""

from dataclasses import dataclass

from PIL import ImageColor

from data.outputs import FORMATS
from options.base_options import PostprocessOptions, PredictorOptions, in_repository, option
from utils.errors import UserError

CROP_MARGIN = 0.05


@dataclass
class InferOptions(PostprocessOptions, PredictorOptions):
    """Segment the clothes on a photograph, or on every photograph of a folder."""

    image_dir: str = option("input_images", "folder of photographs, sub-folders included, or a single photograph")
    result_dir: str = option("output_images", "folder of the results; sub-folders are kept")
    outputs: list[str] = option(("mask",), "what to write for each photo, one or several", tuple(FORMATS))
    category: list[str] = option(("any",), "any (all clothes), or class names (upper lower full): one file for each")
    overlay: bool = option(False, "also write photo, overlay and mask side by side, as --outputs mask overlay would")
    background: str | None = option(None, "colour behind cut-outs: a name or #rrggbb; default: transparent")
    crop: bool = option(False, "cut the pictures that are written to the box of the clothes of --category")
    crop_margin: float | None = option(
        None, f"room around that box, as a share of its longer side; default: {CROP_MARGIN}", at_least=0
    )
    report: bool = option(False, "also write report.csv: areas, confidence and a warning for each photograph")
    coco: bool = option(False, "also write coco.json: the masks of the folder, for annotation programs and train.py")
    skip_existing: bool = option(False, "leave photographs alone whose results are all there")
    batchSize: int = option(4, "photographs through the network at once", at_least=1)
    nThreads: int = option(2, "threads that decode photographs and write results", at_least=1)
    max_megapixels: float = option(100.0, "larger photographs are refused", at_least=0.001)

    def resolve(self) -> "InferOptions":
        super().resolve()
        self.image_dir = in_repository(self.image_dir)
        if self.overlay and "overlay" not in self.outputs:
            self.outputs = [*self.outputs, "overlay"]
        if self.background is not None:
            if "cutout" not in self.outputs:
                raise UserError("--background is the colour behind cut-outs; add --outputs cutout")
            rgb(self.background)
        if self.crop_margin is not None and not self.crop:
            raise UserError("--crop_margin has no effect without --crop")
        if self.crop and set(self.outputs) == {"json"}:
            raise UserError("--crop cuts pictures, and --outputs json has none")
        if self.crop and self.crop_margin is None:
            self.crop_margin = CROP_MARGIN
        if set(self.outputs) == {"probability"} and any(self.postprocess.values()) and not (self.report or self.coco):
            changed = [name for name, value in self.postprocess.items() if value]
            raise UserError(f"--{changed[0]} changes masks, not probabilities; add another output")
        return self


def rgb(colour: str) -> tuple[int, int, int]:
    """A colour's name or #rrggbb as numbers. Raises UserError where it is not a colour, or one with transparency."""
    try:
        red, green, blue = ImageColor.getrgb(colour)
    except ValueError:
        raise UserError(f"--background {colour} is not a colour; use a name such as white, or #rrggbb") from None
    return red, green, blue
