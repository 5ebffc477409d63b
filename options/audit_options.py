"""Options of python -m data.audit."""

from dataclasses import dataclass

from options.base_options import TableOptions, option
from utils.errors import UserError


@dataclass
class AuditOptions(TableOptions):
    """Look for faults in a labelled data set before it is trained on."""

    against_image_folder: str | None = option(None, "photographs of a second table, to find ones that are in both")
    against_df_path: str | None = option(None, "labels of the second table, for example the validation's")
    report_dir: str | None = option(None, "folder for pictures: labels over photographs, pairs of duplicates")

    def resolve(self) -> "AuditOptions":
        super().resolve()
        if (self.against_image_folder is None) != (self.against_df_path is None):
            raise UserError("a second table needs both --against_image_folder and --against_df_path")
        return self
