"""How long a run takes from the command to the first mask: python -m benchmarks.startup

Whole processes of infer.py on one photograph with the included weights, in turn; medians. A first round fills
the cache of converted models. "--help" is the time to a usage text.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from networks.engines import ENGINES

ROOT = Path(__file__).parents[1]
PHOTO = "input_images/eileen_collins.jpg"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="processes of each kind")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        infer = [sys.executable, "infer.py", "--image_dir", PHOTO, "--result_dir", folder, "--device", "cpu"]
        commands = {f"infer.py --engine {engine}": [*infer, "--engine", engine] for engine in ENGINES}
        commands["infer.py --help"] = [sys.executable, "infer.py", "--help"]
        commands["train.py --help"] = [sys.executable, "train.py", "--help"]
        seconds = {name: [] for name in commands}
        for _ in range(1 + options.rounds):
            for name, command in commands.items():
                start = time.perf_counter()
                process = subprocess.run(command, cwd=ROOT, capture_output=True)
                if process.returncode == 0:
                    seconds[name].append(time.perf_counter() - start)
    for name, measured in seconds.items():
        print(f"{name:<34}" + (f"{statistics.median(measured[1:]):.2f} s" if measured else "not installed"))


if __name__ == "__main__":
    main()
