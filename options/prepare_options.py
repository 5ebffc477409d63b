"""Options of the scripts that turn public data sets into tables."""

from dataclasses import dataclass

from options.base_options import BaseOptions, option


@dataclass
class PrepareCcpOptions(BaseOptions):
    """Turn a clone of the Clothing Co-Parsing repository into the tables of the training recipe."""

    ccp: str = option(help="clone of https://github.com/bearpaw/clothing-co-parsing")
    output_dir: str = option(help="folder of the tables and photographs, new or empty")
