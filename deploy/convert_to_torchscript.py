"""The published command for TorchScript: python deploy/convert_to_torchscript.py, export.py with another default."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from options.export_options import TorchScriptOptions

if __name__ == "__main__":
    options = TorchScriptOptions.from_command_line()  # before the imports that take seconds

from export import main
from utils.errors import run_program

if __name__ == "__main__":
    run_program(main, options)
