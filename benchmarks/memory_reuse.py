"""Measure the gain of keep_freed_memory (utils/devices.py) on this CPU: python -m benchmarks.memory_reuse

Starts processes with it and without it in turn, each timing U2NETP, and prints the median ratios of the pairs.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch

from networks.losses import deep_supervision_loss
from networks.u2net import U2NETP
from utils.devices import keep_freed_memory

WORK = {"training step, 4 x 256x256": (4, 256, True), "prediction, 1 x 768x768": (1, 768, False)}


def measure(batch: int, side: int, training: bool, repeats: int = 3) -> tuple[float, float]:
    """(median seconds of one step, peak memory in MB)."""
    network = U2NETP().train(training)
    image, label = torch.randn(batch, 3, side, side), torch.randint(0, 4, (batch, side, side))
    trust, present, class_weights = torch.ones(batch), torch.ones(batch, 4, dtype=torch.bool), torch.ones(4)
    seconds = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        if training:
            deep_supervision_loss(network(image), label, trust, present, class_weights)[0].backward()
        else:
            with torch.inference_mode():
                network(image)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3, help="processes of each kind")
    parser.add_argument("--child", nargs=2, metavar=("KIND", "WORK"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        kind, work = arguments.child
        if kind == "kept":
            keep_freed_memory()
        print(json.dumps(measure(*WORK[work])))
        return
    for work in WORK:
        pairs = []
        for _ in range(arguments.pairs):
            command = [sys.executable, "-m", "benchmarks.memory_reuse", "--child"]
            pairs.append([json.loads(subprocess.check_output([*command, kind, work])) for kind in ("default", "kept")])
        ratio = statistics.median(default[0] / kept[0] for default, kept in pairs)
        memory = statistics.median(kept[1] / default[1] for default, kept in pairs)
        print(f"{work}: {ratio:.2f} times as fast, {memory:.2f} times the peak memory (medians of {len(pairs)} pairs)")


if __name__ == "__main__":
    main()
