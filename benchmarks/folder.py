"""How much of the engine's speed infer.py keeps over a whole folder: python -m benchmarks.folder --count 200

The same process segments the folder as infer.py does (decoding, network and writing at the same time), and runs the
engine alone on as many prepared photographs, in turn; medians. The included weights, or an untrained --model at --size.
Processor time is that of one thread, without others.
Memory that grows with the number of photographs would show in the two peaks.
"""

from dataclasses import dataclass

from data.constants import SIZE
from options.base_options import NetworkOptions, option
from options.infer_options import InferOptions


@dataclass
class FolderOptions(NetworkOptions):
    """How much of the engine's speed infer.py keeps over a whole folder."""

    photos: str = option("input_images", "folder of photos")
    count: int = option(200, "photos; those of the folder are repeated", at_least=1)
    model: str | None = option(None, "an untrained network; default: the included weights", ("u2net", "u2netp"))
    size: int = option(SIZE, "height and width of the untrained network's input", at_least=32)
    engine: str = option("auto", "as for infer.py")
    batchSize: int = option(InferOptions.batchSize, "as for infer.py", at_least=1)
    nThreads: int = option(InferOptions.nThreads, "as for infer.py", at_least=1)
    rounds: int = option(3, "times that each way is measured", at_least=1)


if __name__ == "__main__":
    options = FolderOptions.from_command_line()  # sets how PyTorch's threads wait, before it is imported

import contextlib
import io
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.harness import interleaved_medians, peak_megabytes, read_photo, untrained_weights
from data.photos.folder import find_photos
from data.photos.open import open_photo
from infer import find_jobs, segment
from networks.predictor import Predictor
from utils.errors import run_program
from utils.freed_memory import keep_freed_memory
from utils.ranks import Shard

FIRST = 100  # photographs before the first look at the memory
SAMPLE = 20  # photographs whose processor time is taken


def main(options: FolderOptions) -> None:
    with tempfile.TemporaryDirectory() as folder:
        photos, results = Path(folder, "photos"), Path(folder, "results")
        photos.mkdir()
        originals = find_photos(Path(options.photos))[: options.count]
        for original in originals:
            read_photo(Path(options.photos, original))  # one that infer.py would skip is no measure of its speed
        for i in range(options.count):
            original = originals[i % len(originals)]
            shutil.copy(Path(options.photos, original), photos / f"{i:07}{original.suffix}")
        flags = ["--image_dir", photos, "--result_dir", results]
        if options.model:
            flags += ["--checkpoint_path", untrained_weights(options.model, options.size, Path(folder))]
        for name in ("engine", "device", "precision", "batchSize", "nThreads"):
            flags += [f"--{name}", getattr(options, name)]
        measure(InferOptions.parse(list(map(str, flags))), options.rounds)


def measure(options: InferOptions, rounds: int) -> None:
    jobs, _ = find_jobs(options, Shard())
    predictor = Predictor.load(**options.predictor)
    keep_freed_memory()
    sample = [job.photo for job in jobs[:SAMPLE]]
    inputs = np.stack([predictor.prepare(open_photo(path)) for path in sample])
    starts = range(0, len(jobs), options.batchSize)
    batches = [inputs[np.arange(i, i + options.batchSize) % len(sample)] for i in starts]

    def whole(jobs=jobs) -> None:
        with contextlib.redirect_stderr(io.StringIO()):  # the progress bar and warnings
            segment(jobs, predictor, options)

    def engine_alone() -> None:
        for batch in batches:
            predictor.engine(batch)

    whole(jobs[:FIRST])
    peaks = [peak_megabytes()]
    seconds = interleaved_medians({"whole": whole, "engine": engine_alone}, rounds)
    peaks.append(peak_megabytes())
    folder, engine = (len(jobs) / median for median in seconds.values())
    print(
        f"device: {predictor.name}; {len(jobs)} photographs, batches of {options.batchSize}, {options.nThreads} threads"
    )
    print(f"{'infer.py, photographs a second':<34}{folder:>9.2f}")
    print(f"{'engine alone':<34}{engine:>9.2f}")
    print(f"{'share of the engine':<34}{100 * folder / engine:>8.0f} %")
    for name, seconds in processor_time(sample, predictor, options).items():
        print(f"{f'processor time of {name}':<34}{1000 * seconds:>6.1f} ms")
    print(f"peak memory: {peaks[0]:.0f} MB after {min(FIRST, len(jobs))} photographs, {peaks[1]:.0f} MB after all")


def processor_time(sample: list[Path], predictor: Predictor, options: InferOptions) -> dict[str, float]:
    """Median seconds of this thread for a photograph, by what they are spent on."""
    spent: dict[str, list[float]] = {"decoding": [], "resizing": [], "labels": [], "encoding": []}

    def timed(name: str, call: Callable, *arguments):
        start = time.thread_time()
        result = call(*arguments)
        spent[name].append(time.thread_time() - start)
        return result

    for path in sample:
        photo = timed("decoding", open_photo, path)
        timed("resizing", predictor.prepare, photo)
        result = predictor(photo)
        timed("labels", getattr, result, "labels")
        timed("encoding", options.layout.encoder(result, path), "mask", "any")
    return {name: statistics.median(seconds) for name, seconds in spent.items()}


if __name__ == "__main__":
    run_program(main, options)
