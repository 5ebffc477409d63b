"""Options of infer.py."""

from dataclasses import dataclass

from data.outputs import FORMATS
from options.base_options import PredictorOptions, in_repository, option


@dataclass
class InferOptions(PredictorOptions):
    """Segment the clothes on a photograph, or on every photograph of a folder."""

    image_dir: str = option("input_images", "folder of photographs, sub-folders included, or a single photograph")
    result_dir: str = option("output_images", "folder of the results; sub-folders are kept")
    outputs: list[str] = option(("mask",), "what to write for each photo, one or several", tuple(FORMATS))
    category: list[str] = option(("any",), "any (all clothes), or class names (upper lower full): one file for each")
    overlay: bool = option(False, "also write photo, overlay and mask side by side, as --outputs mask overlay would")
    skip_existing: bool = option(False, "leave photographs alone whose results are all there")
    batchSize: int = option(4, "photographs through the network at once", at_least=1)
    nThreads: int = option(2, "threads that decode photographs and write results", at_least=1)
    max_megapixels: float = option(100.0, "larger photographs are refused", at_least=0.001)

    def resolve(self) -> "InferOptions":
        super().resolve()
        self.image_dir = in_repository(self.image_dir)
        if self.overlay and "overlay" not in self.outputs:
            self.outputs = [*self.outputs, "overlay"]
        return self
