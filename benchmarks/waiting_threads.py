"""Measure the gain of OMP_WAIT_POLICY=passive (options/base_options.py): python -m benchmarks.waiting_threads

Runs infer.py's predictor on PyTorch in processes with it and without it, in turn: on a machine that is otherwise idle,
then beside another program that keeps one core busy. Prints the median ratios of the pairs.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Callable

BUSY = [sys.executable, "-c", "while True: pass"]


def seconds_per_photo(passive: bool, repeats: int) -> float:
    """In a process of its own: the median of predictions of the included photograph with the included weights."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if passive:
        environment["OMP_WAIT_POLICY"] = "passive"
    command = [sys.executable, "-m", "benchmarks.waiting_threads", "--child", "--repeats", str(repeats)]
    return float(subprocess.check_output(command, env=environment))


def predict(repeats: int) -> None:
    from benchmarks.harness import median_seconds
    from data.photos.open import open_photo
    from networks.predictor import Predictor
    from utils.memory import keep_freed_memory

    keep_freed_memory()
    predictor, photo = Predictor.load(device="cpu", engine="torch"), open_photo("input_images/eileen_collins.jpg")
    print(median_seconds(lambda: predictor(photo).labels, repeats))


def compare(measure: Callable[[bool], float], pairs: int) -> str:
    ratios = [measure(False) / measure(True) for _ in range(pairs)]
    return f"{statistics.median(ratios):.2f} times as fast (median of {pairs} pairs)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5, help="processes of each kind")
    parser.add_argument("--repeats", type=int, default=10, help="predictions in each process")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        predict(arguments.repeats)
        return

    def measure(passive: bool) -> float:
        return seconds_per_photo(passive, arguments.repeats)

    print(f"idle machine: {compare(measure, arguments.pairs)}")
    busy = subprocess.Popen(BUSY)
    try:
        print(f"one core busy: {compare(measure, arguments.pairs)}")
    finally:
        busy.kill()


if __name__ == "__main__":
    main()
