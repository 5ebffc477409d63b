"""Segment the clothes on every photograph of a folder: python infer.py (see --help)."""

from options.infer_options import InferOptions

if __name__ == "__main__":
    options = InferOptions.from_command_line()  # before the imports that take seconds

import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from data.image_folder import find_photos, result_names
from data.outputs import FORMATS, result_path
from data.photo import PhotoError, open_photo
from data.segmentation import Segmentation
from networks.converted import read_info
from networks.predictor import Predictor
from utils.errors import UserError, run_program
from utils.files import write_atomically
from utils.memory import keep_freed_memory


@dataclass
class Job:
    """A photograph and where its results go, by (format, category)."""

    photo: Path
    results: dict[tuple[str, str], Path]


def main(options: InferOptions) -> int:
    jobs, existing = plan(options)
    keep_freed_memory()
    predictor = Predictor.load(
        options.checkpoint_path,
        options.device,
        options.precision,
        options.fine_height,
        options.fine_width,
        options.flip,
        options.engine,
    )
    print(f"device: {predictor.name}; {options.checkpoint_path} at {predictor.size[1]}x{predictor.size[0]}")
    if existing:
        kept = "kept" if options.skip_existing else "replaced; --skip_existing keeps them"
        print(f"{existing} photograph(s) have results in {options.result_dir} already: {kept}")

    failed = empty = 0
    keep_photos = any(FORMATS[name].needs_photo for name in options.outputs)
    with ThreadPoolExecutor(options.nThreads) as pool, tqdm(total=len(jobs), unit="photo") as progress:

        def load(job: Job) -> Image.Image:
            return open_photo(job.photo, max_megapixels=options.max_megapixels)

        def finish(job: Job, writing: Future[bool]) -> int:
            found = writing.result()
            progress.update()
            if not found:
                tqdm.write(f"no clothes found: {job.photo}", file=sys.stderr)
            return not found

        writing: deque[tuple[Job, Future[bool]]] = deque()
        for job, result in predictor.predict_stream(jobs, load, options.batchSize, pool, keep_photos):
            if isinstance(result, PhotoError):
                failed += 1
                progress.update()
                tqdm.write(f"skipped {job.photo}: {result}", file=sys.stderr)
                continue
            writing.append((job, pool.submit(write, job, result)))
            while len(writing) > 2 * options.batchSize:  # or a slow disk would let finished photographs pile up
                empty += finish(*writing.popleft())
        empty += sum(finish(*each) for each in writing)

    print(
        f"{len(jobs) - failed} of {len(jobs)} photographs segmented into {options.result_dir}, {empty} without clothes"
    )
    return 1 if failed else 0


def plan(options: InferOptions) -> tuple[list[Job], int]:
    """What to do, and how many photographs had all their results; no weights are read for it. Raises UserError."""
    image_dir, result_dir = Path(options.image_dir), Path(options.result_dir)
    if image_dir.resolve() == result_dir.resolve():
        raise UserError("--image_dir and --result_dir are the same folder; results would replace photographs")
    names = result_names(find_photos(image_dir, leave_out=result_dir))
    known = ("any", *read_info(options.checkpoint_path).class_names[1:])
    for category in options.category:
        if category not in known:
            raise UserError(f"--category {category}: this checkpoint knows {', '.join(known)}")
    wanted = [(output, category) for output in options.outputs for category in options.category]
    jobs = [
        Job(image_dir / photo, {each: result_path(result_dir, name, *each) for each in wanted})
        for photo, name in names.items()
    ]
    everything = [path for job in jobs for path in job.results.values()]
    if len(set(everything)) < len(everything):
        raise UserError("a sub-folder of --image_dir has the name of a result folder (such as binary_upper); rename it")
    finished = [all(path.exists() for path in job.results.values()) for job in jobs]
    if options.skip_existing:
        jobs = [job for job, done in zip(jobs, finished, strict=True) if not done]
    return jobs, sum(finished)


def write(job: Job, result: Segmentation) -> bool:
    """Write all results of a photograph; whether there were clothes."""
    for (name, category), path in job.results.items():
        write_atomically(path, FORMATS[name].encode(result.only(category)))
    return bool(np.any(result.labels))


if __name__ == "__main__":
    run_program(main, options)
