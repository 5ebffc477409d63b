"""Options of evaluate.py."""

import math
from dataclasses import dataclass
from pathlib import Path

from options.base_options import PostprocessOptions, PredictorOptions, TableOptions, check_report_dir, option
from utils.errors import UserError


@dataclass
class EvaluateOptions(TableOptions, PostprocessOptions, PredictorOptions):
    """Measure a checkpoint on labelled photographs."""

    no_clothes: bool = option(
        False, "no photo in --image_folder shows clothes; --df_path is not read", group="measurement"
    )
    close_ups: bool = option(False, "compare the head and shoulders of each photo alone, cut out like a portrait")
    json: str | None = option(None, ".json file to write the figures to", metavar="FILE")
    report_dir: str | None = option(
        None, "folder for pictures: confusion matrix, and the worst, median and best photos", metavar="FOLDER"
    )
    max_dataset_size: float = option(math.inf, "use at most this many photographs", at_least=1)

    def resolve(self) -> "EvaluateOptions":
        super().resolve()
        if self.json and not self.json.lower().endswith(".json"):
            raise UserError(f"--json {self.json} does not end in .json; give another name")
        inputs = [Path(each) for each in (self.df_path, self.class_map) if each]
        if self.json and Path(self.json).exists() and any(p.exists() and p.samefile(self.json) for p in inputs):
            raise UserError(f"--json {self.json} would replace a file that is read; give another name")
        check_report_dir(self.report_dir, self.image_folder, inside=self.no_clothes)
        return self
