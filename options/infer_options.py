"""Options of infer.py."""

from dataclasses import dataclass

from PIL import ImageColor

from data.results.formats import FORMATS, OutputLayout
from data.results.tryon import Margin, Preset, agnostic, viton
from options.base_options import PostprocessOptions, PredictorOptions, option
from utils.errors import UserError
from utils.ranks import Shard

CROP_MARGIN = 0.05


@dataclass
class InferOptions(PostprocessOptions, PredictorOptions):
    """Segment the clothes on a photograph, or on every photograph of a folder."""

    image_dir: str = option("input_images", "folder of photographs, sub-folders included, or a single photograph")
    result_dir: str = option("output_images", "folder of the results; sub-folders are kept")
    outputs: list[str] = option(("mask",), "what to write for each photo, one or several", tuple(FORMATS))
    category: list[str] = option(("any",), "any (all clothes), or class names (upper lower full): one file for each")
    overlay: bool = option(False, "also write photo, overlay and mask side by side, as --outputs mask overlay would")
    preset: str | None = option(
        None,
        "files for virtual try-on in place of --outputs: viton masks garments, agnostic what a new garment needs on a "
        "person (docs/tryon.md)",
        ("viton", "agnostic"),
    )
    agnostic_margin: str | None = option(
        None, "how far the agnostic mask reaches beyond the clothes: 20px, or 2%% of the person's height; default 2%%"
    )
    agnostic_value: int | None = option(None, "value of what to inpaint in the agnostic mask, 0 or 255; default 255")
    one_garment: bool | None = option(
        None, "give connected clothes the class that most of their pixels have; default: only with --preset viton"
    )
    background: str | None = option(None, "colour behind cut-outs: a name or #rrggbb; default: transparent")
    crop: bool = option(False, "cut the pictures that are written to the box of the clothes of --category")
    crop_margin: float | None = option(
        None, f"room around that box, as a share of its longer side; default: {CROP_MARGIN}", at_least=0
    )
    report: bool = option(False, "also write report.csv: areas, confidence and a warning for each photograph")
    coco: bool = option(False, "also write coco.json: the masks of the folder, for annotation programs and train.py")
    skip_existing: bool = option(False, "leave photographs alone whose results are all there")
    shard: str | None = option(
        None, "I/N: take the I-th of every N photographs, where N runs share a folder; torchrun does it by itself"
    )
    compile: bool = option(False, "torch.compile the network: takes minutes, and is faster on GPUs from then on")
    batchSize: int = option(4, "photographs through the network at once", at_least=1)
    nThreads: int = option(2, "threads that decode photographs and write results", at_least=1)
    max_megapixels: float = option(100.0, "larger photographs are refused", at_least=0.001)

    def resolve(self) -> "InferOptions":
        super().resolve()
        Shard.parse(self.shard)
        self.find_defaults("image_dir")
        if self.overlay and "overlay" not in self.outputs:
            self.outputs = [*self.outputs, "overlay"]
        if self.preset and (self.outputs != ["mask"] or self.background is not None or self.crop):
            raise UserError("--preset has files of its own; leave out --outputs, --overlay, --background and --crop")
        if self.preset != "agnostic" and (self.agnostic_margin, self.agnostic_value) != (None, None):
            raise UserError("--agnostic_margin and --agnostic_value need --preset agnostic")
        if self.preset == "agnostic":
            self.agnostic_margin = "2%" if self.agnostic_margin is None else self.agnostic_margin
            self.agnostic_value = 255 if self.agnostic_value is None else self.agnostic_value
            Margin.parse(self.agnostic_margin)
            if self.agnostic_value not in (0, 255):
                raise UserError(f"--agnostic_value {self.agnostic_value} must be 0 or 255")
        if self.one_garment is None:
            self.one_garment = self.preset == "viton"
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

    @property
    def predictor(self) -> dict[str, object]:
        """Arguments of Predictor.load."""
        return super().predictor | {"compiled": self.compile}

    @property
    def part(self) -> Shard:
        """The share of the photographs that this process takes."""
        return Shard.parse(self.shard)

    @property
    def layout(self) -> OutputLayout | Preset:
        """What is written of each photograph, and where."""
        if self.preset == "viton":
            return viton(self.category)
        if self.preset == "agnostic":
            return agnostic(self.category, Margin.parse(self.agnostic_margin), self.agnostic_value)
        background = rgb(self.background) if self.background else None
        return OutputLayout(self.outputs, self.category, background, self.crop_margin)


def rgb(colour: str) -> tuple[int, int, int]:
    """A colour's name or #rrggbb as numbers. Raises UserError where it is not a colour, or one with transparency."""
    try:
        red, green, blue = ImageColor.getrgb(colour)
    except ValueError:
        raise UserError(f"--background {colour} is not a colour; use a name such as white, or #rrggbb") from None
    return red, green, blue
