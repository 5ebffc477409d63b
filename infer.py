"""Segment the clothes on every photograph of a folder: python infer.py (see --help)."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from data.classes import palette
from data.image_folder import find_photos, result_names
from data.photo import PhotoError, open_photo
from networks.predictor import Predictor, labels_at
from options.infer_options import InferOptions
from utils.devices import describe, resolve_device, resolve_precision
from utils.errors import UserError, run_program
from utils.files import write_atomically
from utils.outputs import FORMATS, Segmentation


@dataclass
class Job:
    """A photograph and where its results go, by (format, category)."""

    photo: Path
    results: dict[tuple[str, str], Path]


@dataclass
class Loaded:
    """A decoded photograph: network input 3 x h x w, its own (height, width), itself where a format needs it."""

    image: Tensor
    size: tuple[int, int]
    photo: Image.Image | None


def main() -> int:
    options = InferOptions.parse()
    device = resolve_device(options.device)
    precision = resolve_precision(options.precision, device)
    predictor = Predictor.from_checkpoint(
        options.checkpoint_path, device, precision, options.fine_height, options.fine_width, options.flip
    )
    jobs, existing = plan(options, predictor.class_names)
    print(
        f"device: {describe(device)}, {precision}; {options.checkpoint_path} at {predictor.size[1]}x{predictor.size[0]}"
    )
    if existing:
        kept = "kept" if options.skip_existing else "replaced; --skip_existing keeps them"
        print(f"{existing} photograph(s) have results in {options.result_dir} already: {kept}")

    needs_photo = any(FORMATS[name].needs_photo for name in options.outputs)
    colours = palette(len(predictor.class_names))

    def load(job: Job) -> Loaded:
        photo = open_photo(job.photo, max_megapixels=options.max_megapixels)
        return Loaded(predictor.to_input(photo), photo.size[::-1], photo if needs_photo else None)

    def write(job: Job, logits: Tensor, loaded: Loaded) -> bool:
        """Write all results; whether there were clothes."""
        labels = labels_at(logits, loaded.size)
        result = Segmentation(labels, predictor.class_names, colours, loaded.photo)
        for (name, category), path in job.results.items():
            write_atomically(path, FORMATS[name].encode(result.only(category)))
        return bool(np.any(labels))

    failed = empty = 0
    with ThreadPoolExecutor(options.nThreads) as pool, tqdm(total=len(jobs), unit="photo") as progress:
        writing: list[tuple[Job, Future]] = []
        loading = ahead(pool, load, jobs, 2 * options.batchSize)
        while batch := list(islice(loading, options.batchSize)):
            ready = []
            for job, future in batch:
                try:
                    ready.append((job, future.result()))
                except PhotoError as error:
                    failed += 1
                    progress.update()
                    tqdm.write(f"skipped {job.photo}: {error}", file=sys.stderr)
            if ready:
                logits = predictor.logits(torch.stack([loaded.image for _, loaded in ready]))
            empty += finish(writing, progress)
            writing = (
                [
                    (job, pool.submit(write, job, item, loaded))
                    for (job, loaded), item in zip(ready, logits, strict=True)
                ]
                if ready
                else []
            )
        empty += finish(writing, progress)

    print(
        f"{len(jobs) - failed} of {len(jobs)} photographs segmented into {options.result_dir}, {empty} without clothes"
    )
    return 1 if failed else 0


def plan(options: InferOptions, class_names: tuple[str, ...]) -> tuple[list[Job], int]:
    """What to do, and how many photographs had all their results. Raises UserError."""
    image_dir, result_dir = Path(options.image_dir), Path(options.result_dir)
    for category in options.category:
        if category not in ("any", *class_names[1:]):
            raise UserError(f"--category {category}: this checkpoint knows any, {', '.join(class_names[1:])}")
    if image_dir.resolve() == result_dir.resolve():
        raise UserError("--image_dir and --result_dir are the same folder; results would replace photographs")
    names = result_names(find_photos(image_dir, leave_out=result_dir))
    jobs = []
    for photo, name in names.items():
        results = {}
        for output in options.outputs:
            for category in options.category:
                # The plain mask stands where it always stood; every other kind has a folder of its own.
                folder = "" if (output, category) == ("mask", "any") else f"{output}_{category}"
                target = result_dir / folder / name
                results[output, category] = target.with_name(target.name + FORMATS[output].suffix)
        jobs.append(Job(image_dir / photo, results))
    everything = [path for job in jobs for path in job.results.values()]
    if len(set(everything)) < len(everything):
        raise UserError("a sub-folder of --image_dir has the name of a result folder (such as binary_upper); rename it")
    finished = [all(path.exists() for path in job.results.values()) for job in jobs]
    if options.skip_existing:
        jobs = [job for job, there in zip(jobs, finished, strict=True) if not there]
    return jobs, sum(finished)


def ahead(pool: ThreadPoolExecutor, load, jobs: Iterable[Job], most: int) -> Iterator[tuple[Job, Future]]:
    """Jobs in order with their photographs being decoded, at most ``most`` ahead of the one in use."""
    waiting: deque[tuple[Job, Future]] = deque()
    for job in jobs:
        waiting.append((job, pool.submit(load, job)))
        if len(waiting) > most:
            yield waiting.popleft()
    yield from waiting


def finish(writing: list[tuple[Job, Future]], progress: tqdm) -> int:
    """Wait for results to be written; how many photographs had no clothes."""
    empty = 0
    for job, future in writing:
        if not future.result():
            empty += 1
            tqdm.write(f"no clothes found: {job.photo}", file=sys.stderr)
        progress.update()
    return empty


if __name__ == "__main__":
    run_program(main)
