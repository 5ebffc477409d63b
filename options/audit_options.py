"""Options of data/audit.py."""

from dataclasses import dataclass

from options.base_options import BaseOptions, option
from utils.errors import UserError


@dataclass
class AuditOptions(BaseOptions):
    """Look for faults in a data set in iMaterialist format before it is trained on."""

    image_folder: str = option("../imaterialist/train/", "folder of the photographs")
    df_path: str = option("../imaterialist/train.csv", "label table (CSV)")
    against_image_folder: str | None = option(None, "photographs of a second table, to find ones that are in both")
    against_df_path: str | None = option(None, "the second table, for example the validation's")
    class_map: str | None = option(None, "YAML or JSON file, class name -> category ids; default: upper, lower, full")
    report_dir: str | None = option(None, "folder for pictures: labels over photographs, pairs of duplicates")

    def check(self) -> None:
        super().check()
        if (self.against_image_folder is None) != (self.against_df_path is None):
            raise UserError("a second table needs both --against_image_folder and --against_df_path")
