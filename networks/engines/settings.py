"""How a network is to be run; without PyTorch, since options import it."""

import importlib.util
import re
from dataclasses import dataclass

from utils.errors import UserError

ENGINES = ("torch", "openvino", "onnxruntime")
PRECISIONS = ("fp32", "bf16", "fp16")
MAX_THREADS = 1024


@dataclass(frozen=True)
class EngineSettings:
    """Engine, device and precision, 'auto' for the best that this machine has. Raises UserError on other values.

    engine: 'auto' or one of ENGINES. device: 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'. precision: 'auto' or one of
    PRECISIONS. threads: on the CPU, with PyTorch those of the whole process; default: under a launcher this process's
    share of the cores, else the engine's own choice. compiled: with torch.compile, by PyTorch alone.
    """

    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    compiled: bool = False

    def __post_init__(self):
        for name, choices in (("engine", ENGINES), ("precision", PRECISIONS)):
            value = getattr(self, name)
            if value not in ("auto", *choices):
                raise UserError(f"{name} is {value!r}; use auto, {', '.join(choices[:-1])} or {choices[-1]}")
        if not (isinstance(self.device, str) and re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", self.device)):
            raise UserError(f"unknown device {self.device!r}; use auto, cpu, cuda, cuda:N or mps")
        if self.threads is not None and (type(self.threads) is not int or not 1 <= self.threads <= MAX_THREADS):
            raise UserError(f"threads is {self.threads!r}; it must be a whole number from 1 to {MAX_THREADS}")
        if type(self.compiled) is not bool:
            raise UserError(f"compiled is {self.compiled!r}; it must be True or False")
        if self.compiled and self.engine not in ("auto", "torch"):
            raise UserError(f"compiled is for PyTorch; leave it out with the engine {self.engine}")


def is_installed(engine: str) -> bool:
    return importlib.util.find_spec(engine) is not None


def check_installed(engine: str) -> None:
    """Raise UserError, with how to get it, where an engine is not installed."""
    if not is_installed(engine):
        raise UserError(f"the engine {engine} is not installed: pip install {engine}")
