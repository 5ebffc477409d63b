"""What the benchmarks share: ways of doing one thing, each in processes of its own, in turn; medians and ratios."""

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from utils.errors import UserError
from utils.files import say_replaced, write_atomically

try:
    import resource
except ImportError:  # Windows
    resource = None


@dataclass
class Measured:
    """Medians over the rounds. seconds: of one call. megabytes: largest resident memory of the process."""

    seconds: float
    megabytes: float


def compare(module: str, ways: list[str], arguments: list[object], rounds: int) -> dict[str, Measured]:
    """Run ``python -m module --way WAY arguments`` for every way, ``rounds`` times in turn; medians by way.

    In turn, because machines get faster and slower while one measures. A way that fails is left out and reported.
    """
    results: dict[str, list[list[float]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way in list(results):
            command = [sys.executable, "-m", module, "--way", way, *map(str, arguments)]
            process = subprocess.run(command, capture_output=True, text=True)
            if process.returncode:
                print(f"{way}: left out ({(process.stderr.strip().splitlines() or ['failed'])[-1]})", file=sys.stderr)
                del results[way]
            else:
                results[way].append(json.loads(process.stdout.splitlines()[-1]))
    return {
        way: Measured(*(statistics.median(column) for column in zip(*rows, strict=True)))
        for way, rows in results.items()
    }


def report_call(call: Callable[[], object], repeats: int, batches: int = 1) -> None:
    """In a process of ``compare``: time a call that does ``batches`` of what is compared; print what it reads."""
    seconds = interleaved_medians({"": call}, repeats)[""] / batches
    print(json.dumps([seconds, peak_megabytes()]))


def peak_megabytes() -> float:
    """The most memory that this process had, NaN on Windows; the system counts in kilobytes, macOS in bytes."""
    if resource is None:
        return math.nan
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def interleaved_medians(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each call, in this process, in turn, after one of each that warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(1 + repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def print_table(results: dict[str, Measured]) -> None:
    """Seconds, memory, and how many times as fast as "published" each way is."""
    print(f"{'':<34}{'seconds':>9}{'MB':>8}{'ratio':>8}")
    for way, measured in results.items():
        ratio = f"{results['published'].seconds / measured.seconds:.2f}" if "published" in results else "-"
        print(f"{way:<34}{measured.seconds:>9.3f}{measured.megabytes:>8.0f}{ratio:>8}")


def read_photo(path: Path):
    """The PIL image of a photo to measure with. Raises UserError."""
    from data.photos.open import PhotoError, open_photo  # here: their memory would count in the processes of compare

    try:
        return open_photo(path)
    except PhotoError as error:
        raise UserError(f"{path}: {error}; measure with another photo") from None


def untrained_weights(model: str, size: int, folder: Path) -> Path:
    """A checkpoint of an untrained network in ``folder``: as fast as a trained one."""
    from networks.u2net import build_network
    from networks.weights.checkpoint import save_checkpoint
    from networks.weights.info import CheckpointInfo

    path = folder / "weights.pth"
    info = CheckpointInfo(("background", "upper", "lower", "full"), size, size)
    save_checkpoint(path, build_network(model, 4), info)
    return path


def draw(results: dict[str, Measured], title: str, path: Path) -> None:
    """The seconds of each way as bars, slowest first, as PNG. Needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    ways = sorted(results, key=lambda way: results[way].seconds)
    figure, axes = pyplot.subplots(figsize=(7, 0.8 + 0.4 * len(ways)), layout="constrained")
    bars = axes.barh(ways, [results[way].seconds for way in ways])
    axes.bar_label(bars, fmt="%.2f s", padding=3)
    axes.margins(x=0.12)
    axes.set(title=title, xlabel="seconds, less is better")
    axes.spines[["top", "right"]].set_visible(False)
    say_replaced([path])
    write_atomically(path, partial(figure.savefig, format="png", dpi=110))
