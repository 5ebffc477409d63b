"""Options of evaluate.py."""

import math
from dataclasses import dataclass

from options.base_options import NetworkOptions, option


@dataclass
class EvaluateOptions(NetworkOptions):
    """Measure a checkpoint against a label table in iMaterialist format."""

    image_folder: str = option("../imaterialist/train/", "folder of the photographs")
    df_path: str = option("../imaterialist/train.csv", "label table (CSV)")
    checkpoint_path: str = option(
        "trained_checkpoint/cloth_segm_u2netp.pth", "weights: .pth of any published form, or .onnx"
    )
    class_map: str | None = option(None, "YAML or JSON file, class name -> category ids; default: upper, lower, full")
    json: str | None = option(None, "file to write the figures to")
    report_dir: str | None = option(
        None, "folder for pictures: confusion matrix, and the worst, median and best photographs"
    )
    fine_width: int | None = option(None, "width the network sees; default: what the checkpoint says", at_least=32)
    fine_height: int | None = option(None, "height the network sees; default: what the checkpoint says", at_least=32)
    max_dataset_size: float = option(math.inf, "use at most so many photographs", at_least=1)
