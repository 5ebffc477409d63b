"""What the renderer takes from the rest of the repository; none of it needs PyTorch."""

from data.classes import load_class_table
from data.label_values import SOME_CLOTHES
from utils.errors import UserError, run_program

__all__ = ["SOME_CLOTHES", "UserError", "load_class_table", "run_program"]
