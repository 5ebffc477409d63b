"""Options of infer.py."""

from dataclasses import dataclass
from pathlib import Path

from PIL import ImageColor

from data.photos.open import MAX_MEGAPIXELS
from data.results.formats import FORMATS, OutputLayout
from data.tryon.agnostic import SHAPES, Margin
from data.tryon.body import PARSE_LABELS
from data.tryon.presets import PRESETS, Fit, ParseMaps, Preset
from options.base_options import PostprocessOptions, PredictorOptions, option
from utils.errors import UserError
from utils.ranks import Shard

CROP_MARGIN = 0.05
OF_PEOPLE = ("agnostic_shape", "agnostic_margin", "pose", "parse_dir", "parse_labels")


@dataclass
class InferOptions(PostprocessOptions, PredictorOptions):
    """Segment the clothes on a photo, or on every photo of a folder."""

    image_dir: list[str] = option(
        ("input_images",),
        "folders of photos, with their sub-folders, single photos and wildcards",
        metavar="PATH",
        group="folders",
    )
    result_dir: str = option("output_images", "folder for the results; sub-folders are kept", metavar="FOLDER")
    skip_existing: bool = option(False, "skip photos whose results already exist")
    report: bool = option(False, "also write report.csv: shares, confidence and a warning for each photo")
    coco: bool = option(False, "also write coco.json: the masks of the folder, for annotation programs and train.py")
    max_megapixels: float = option(MAX_MEGAPIXELS, "refuse larger photos", at_least=0.001)

    outputs: list[str] = option(
        ("mask",),
        f"what to write for each photo, one or several of {', '.join(FORMATS)}",
        tuple(FORMATS),
        metavar="OUTPUT",
        group="outputs",
    )
    category: list[str] = option(
        ("any",), "any (all clothes), or class names (upper lower full): one file for each", metavar="CLASS"
    )
    overlay: bool = option(False, "also write photo, overlay and mask side by side, like --outputs mask overlay")
    background: str | None = option(
        None, "colour behind cut-outs: a name or #rrggbb; default: transparent", metavar="COLOUR"
    )
    crop: bool = option(False, "crop the written pictures to the clothes of --category")
    crop_margin: float | None = option(
        None,
        f"margin of the crop, as a share of its longer side; default: {CROP_MARGIN}",
        metavar="SHARE",
        at_least=0,
        at_most=100,
    )

    preset: str | None = option(
        None,
        "masks for virtual try-on instead of --outputs (docs/tryon.md): viton: of garments and people; agnostic: of "
        "people; gp-vton: of garments; dresscode: of both, in DressCode's folders",
        tuple(PRESETS),
        group="try-on",
    )
    agnostic_shape: str | None = option(
        None,
        "shape of masks on people: garment (the old one's outline), hull (convex, with the limbs that the new one may "
        "cover) or box (a rectangle around both); default: hull",
        SHAPES,
    )
    agnostic_margin: str | None = option(
        None,
        "how far such a mask reaches beyond its shape: 20px, or 2%% of the person's height; default: 2%%",
        metavar="MARGIN",
    )
    pose: str | None = option(
        None,
        "joints for such masks: auto (the package of requirements-tryon.txt, where it is installed), none, or a wheel "
        "or pose_landmarker .task file of MediaPipe; default: auto",
        metavar="auto|none|FILE",
    )
    parse_dir: str | None = option(
        None, "folder of parse maps of the people (PNG), in place of the classes found", metavar="FOLDER"
    )
    parse_labels: str | None = option(None, "data set whose values these maps have; default: atr", tuple(PARSE_LABELS))
    size: str | None = option(
        None, "bring photos and masks to one size, and write the photos as well: 768x1024", metavar="WxH"
    )
    fit: str | None = option(
        None,
        "how photos get that --size: padded with white, or cropped around the middle; default: pad",
        ("pad", "crop"),
    )

    batchSize: int = option(4, "photos per pass of the network", at_least=1, group="machine")
    nThreads: int = option(2, "threads that decode photos and write results", at_least=1)
    compile: bool = option(False, "torch.compile the network, which takes minutes: meant for GPUs")
    shard: str | None = option(
        None, "I/N: the I-th of N runs that share a folder; torchrun sets it by itself", metavar="I/N"
    )

    one_garment: bool | None = option(
        None,
        "one class per connected region, by majority vote; default: only for photos of garments with --preset",
        group="clean up masks (sizes in pixels of the photo)",
    )

    def resolve(self) -> "InferOptions":
        super().resolve()
        Shard.parse(self.shard)
        self.find_defaults("image_dir")
        outputs = [*self.outputs, "overlay"] if self.overlay else self.outputs
        self.outputs, self.category = list(dict.fromkeys(outputs)), list(dict.fromkeys(self.category))
        own_files = self.preset and (self.outputs != ["mask"] or self.background is not None or self.crop)
        given = [name for name in OF_PEOPLE if getattr(self, name) is not None]
        no_people = given and not any(kind.of_people for kind in PRESETS.get(self.preset, ()))
        no_cutout = self.background is not None and "cutout" not in self.outputs
        only_probability = set(self.outputs) == {"probability"} and not (self.report or self.coco)
        changes = [name for name, value in self.postprocess.items() if value and only_probability]
        for wrong, message in (
            (own_files, "--preset has files of its own; leave out --outputs, --overlay, --background and --crop"),
            (no_people, f"--{' '.join(given[:1])} is about masks on people; add --preset agnostic"),
            (self.size and not self.preset, "--size needs a --preset"),
            (self.fit and not self.size, "--fit says how photos are brought to a --size; add one"),
            (self.parse_labels and not self.parse_dir, "--parse_labels are those of the maps in --parse_dir; add it"),
            (self.parse_dir and not Path(self.parse_dir).is_dir(), f"there is no folder {self.parse_dir}"),
            (no_cutout, "--background is the colour behind cut-outs; add --outputs cutout"),
            (self.crop_margin is not None and not self.crop, "--crop_margin has no effect without --crop"),
            (self.crop and set(self.outputs) == {"json"}, "--crop cuts pictures, and --outputs json has none"),
            (changes, f"--{' '.join(changes[:1])} changes masks, not probabilities; add another output"),
        ):
            if wrong:
                raise UserError(message)
        if self.crop and self.crop_margin is None:
            self.crop_margin = CROP_MARGIN
        _ = self.layout  # raises on what is no margin, size or colour
        return self

    @property
    def predictor(self) -> dict[str, object]:
        """Arguments of Predictor.load."""
        return super().predictor | {"compiled": self.compile}

    @property
    def layout(self) -> OutputLayout | Preset:
        """What is written for each photo, and where."""
        if self.preset:
            return Preset(
                PRESETS[self.preset],
                list(map(Path, self.image_dir)),
                self.category,
                one_garment=self.one_garment is not False,
                shape=self.agnostic_shape or "hull",
                margin=Margin.parse(self.agnostic_margin or "2%"),
                fit=Fit.parse(self.size, self.fit == "crop") if self.size else None,
                parse_maps=ParseMaps(Path(self.parse_dir), self.parse_labels or "atr") if self.parse_dir else None,
            )
        background = rgb(self.background) if self.background else None
        return OutputLayout(self.outputs, self.category, background, self.crop_margin)


def rgb(colour: str) -> tuple[int, int, int]:
    """A colour's name or #rrggbb as numbers. Raises UserError where it is not a colour, or one with transparency."""
    try:
        red, green, blue = ImageColor.getrgb(colour)
    except ValueError:
        raise UserError(f"--background {colour} is not a colour; use a name such as white, or #rrggbb") from None
    return red, green, blue
