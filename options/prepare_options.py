"""Options of the scripts that turn public data sets into tables."""

from dataclasses import dataclass
from pathlib import Path

from options.base_options import (
    CLASS_MAP_HELP,
    WEIGHT_FILES,
    BaseOptions,
    NetworkOptions,
    PredictorOptions,
    option,
    refuse_existing,
    refuse_filled,
)
from utils.errors import UserError


@dataclass
class PrepareCcpOptions(BaseOptions):
    """Turn a clone of the Clothing Co-Parsing repository into the tables of the training recipe."""

    ccp: str = option(help="clone of https://github.com/bearpaw/clothing-co-parsing")
    output_dir: str = option(help="folder of the tables and photographs, new or empty")

    def resolve(self) -> "PrepareCcpOptions":
        super().resolve()
        refuse_filled(self.output_dir)
        return self


@dataclass
class PrepareProductsOptions(NetworkOptions):
    """Turn photographs of single garments, each with one label, into tables of the training recipe."""

    products: str = option(help="clone of https://github.com/alexeygrigorev/clothing-dataset, or a folder like it")
    output_dir: str = option(help="folder of the tables, new or empty; the photographs stay where they are")
    saliency: str = option("prev_checkpoints/u2netp.onnx", "saliency weights of U2NETP: .onnx or .pth")
    size: int = option(320, "height and width that the saliency network sees", at_least=32)
    batchSize: int = option(4, "photographs through the network at once", at_least=1)
    leave_out: str | None = option(None, "table whose photographs are left out, such as those kept for validation")
    max_dataset_size: float = option(float("inf"), "use at most so many photographs", at_least=1)

    def resolve(self) -> "PrepareProductsOptions":
        super().resolve()
        refuse_filled(self.output_dir)
        return self


@dataclass
class PseudoLabelOptions(PredictorOptions):
    """Label photographs with a trained network, where it is sure, for training on them."""

    image_folder: str = option(help="folder of photographs, as stored: no EXIF rotation is applied")
    output: str = option(help="table to write (CSV), in the layout that train.py reads")
    tags: str | None = option(None, "table of tags: only tagged classes are labelled")
    tag_map: str | None = option(None, "YAML file, class name -> tags")
    class_map: str | None = option(None, CLASS_MAP_HELP)
    confidence: float = option(0.6, "least probability of a labelled pixel", at_least=0, below=1)
    clothes_confidence: float = option(
        0.8, "least probability of a pixel that is labelled clothes without a class", at_least=0, below=1
    )
    batchSize: int = option(4, "photographs through the network at once", at_least=1)
    nThreads: int = option(2, "threads that decode photographs", at_least=1)

    def resolve(self) -> "PseudoLabelOptions":
        super().resolve()
        if (self.tags is None) != (self.tag_map is None):
            raise UserError("--tags and --tag_map belong together")
        refuse_existing(self.output)
        return self


@dataclass
class MeanOptions(BaseOptions):
    """Write the mean of several weight files of one network."""

    weights: list[str] = option(help=f"weight files: {WEIGHT_FILES}")
    shares: list[float] | None = option(None, "share of each, in any unit; default: all the same", at_least=0)
    output: str = option(help="file to write (.pth)")

    def resolve(self) -> "MeanOptions":
        super().resolve()
        self.shares = self.shares or [1.0] * len(self.weights)
        if len(self.shares) != len(self.weights) or not sum(self.shares):
            raise UserError(f"--shares needs {len(self.weights)} numbers, one for each file, not all zero")
        if Path(self.output).suffix != ".pth":
            raise UserError(f"--output {self.output} must end in .pth")
        refuse_existing(self.output)
        return self


@dataclass
class SamplesOptions(PredictorOptions):
    """Make samples.md and its pictures anew."""
