"""Options of scripts/prepare_ccp.py."""

from dataclasses import dataclass

from options.base_options import BaseOptions, option
from utils.errors import UserError


@dataclass
class PrepareCcpOptions(BaseOptions):
    """Turn a clone of the Clothing Co-Parsing repository into the tables of the training recipe."""

    ccp: str | None = option(None, "clone of https://github.com/bearpaw/clothing-co-parsing; required")
    output_dir: str | None = option(None, "folder of the tables and photographs, new or empty; required")

    def check(self) -> None:
        super().check()
        if not self.ccp:
            raise UserError("set --ccp to a clone of https://github.com/bearpaw/clothing-co-parsing")
        if not self.output_dir:
            raise UserError("set --output_dir to a new folder for the tables and photographs")
