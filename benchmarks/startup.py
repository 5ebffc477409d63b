"""How long a run takes from the command to the first mask: python -m benchmarks.startup

infer.py on one photograph with the included weights, each engine in turn; medians of the seconds until the mask is
there, and until the process has ended. A first round fills the cache of converted models. "--help" is the time to a
usage text.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from networks.engines.settings import ENGINES
from options.base_options import BaseOptions, option
from utils.errors import run_program

ROOT = Path(__file__).parents[1]
PHOTO = "input_images/eileen_collins.jpg"


@dataclass
class StartupOptions(BaseOptions):
    """How long a run takes from the command to the first mask."""

    rounds: int = option(5, "processes of each kind", at_least=1)


def main(options: StartupOptions) -> None:
    with tempfile.TemporaryDirectory() as folder:
        mask = Path(folder, Path(PHOTO).with_suffix(".png").name)
        infer = [sys.executable, "infer.py", "--image_dir", PHOTO, "--result_dir", folder, "--device", "cpu"]
        commands = {f"infer.py --engine {engine}": [*infer, "--engine", engine] for engine in ENGINES}
        commands["infer.py --help"] = [sys.executable, "infer.py", "--help"]
        commands["train.py --help"] = [sys.executable, "train.py", "--help"]
        seconds = {name: [] for name in commands}
        for _ in range(1 + options.rounds):
            for name, command in commands.items():
                mask.unlink(missing_ok=True)
                measured = run(command, mask)
                if measured:
                    seconds[name].append(measured)
    print(f"{'':<34}{'mask':>8}{'end':>8}")
    for name, rows in seconds.items():
        medians = (f"{statistics.median(column):>6.2f} s" for column in zip(*rows[1:], strict=True))
        print(f"{name:<34}" + ("".join(medians) if rows else "not installed"))


def run(command: list[str], mask: Path) -> tuple[float, float] | None:
    """Seconds until ``mask`` exists, or until the end where none is written, and until the end; None if it failed."""
    start, written = time.perf_counter(), None
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        if written is None and mask.exists():
            written = time.perf_counter() - start
        time.sleep(0.005)
    ended = time.perf_counter() - start
    return None if process.returncode else (written or ended, ended)


if __name__ == "__main__":
    run_program(main, StartupOptions.from_command_line())
