"""Options of evaluate.py."""

import math
from dataclasses import dataclass

from options.base_options import PredictorOptions, option


@dataclass
class EvaluateOptions(PredictorOptions):
    """Measure a checkpoint against a label table in iMaterialist format."""

    image_folder: str = option("../imaterialist/train/", "folder of the photographs")
    df_path: str = option("../imaterialist/train.csv", "label table (CSV)")
    close_ups: bool = option(False, "compare the head and shoulders of each photograph alone, cut out like a portrait")
    class_map: str | None = option(None, "YAML or JSON file, class name -> category ids; default: upper, lower, full")
    json: str | None = option(None, "file to write the figures to")
    report_dir: str | None = option(
        None, "folder for pictures: confusion matrix, and the worst, median and best photographs"
    )
    max_dataset_size: float = option(math.inf, "use at most so many photographs", at_least=1)
