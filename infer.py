"""Segment the clothes on a photo, or on all photos of a folder: python infer.py (see --help)."""

from options.infer_options import InferOptions

if __name__ == "__main__":
    options = InferOptions.from_command_line()  # before the imports that take seconds

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from data.photos.folder import Listing, list_photos, name_key
from data.photos.open import PhotoError, TooLargeError, open_photo
from data.results.folder_report import COCO, REPORT, write_summary
from data.results.formats import OutputLayout, result_path, warning
from data.results.postprocess import Postprocess
from data.results.segmentation import Segmentation
from data.tryon.checks import findings
from data.tryon.presets import Preset
from networks.engines.onnx_cache import CachedWeights
from networks.pose import PoseNetwork, missing_package
from networks.predictor import Predictor
from options.base_options import check_categories
from utils.errors import UserError, escape_unprintable, run_program
from utils.explain_errors import explain_errors
from utils.files import FullDiskError, make_writable_folder, write_atomically
from utils.freed_memory import keep_freed_memory
from utils.prefetch import prefetch
from utils.ranks import Shard, is_launched

SUMMARISED = ("json", "any")  # the result of each photo that report.csv and coco.json are made from
WARNINGS = {
    "empty": "no clothes found",
    "nearly full": "nearly all of it is called clothes",
    "low confidence": "the network is unsure",
}


@dataclass
class Job:
    """A photo, its name in the folder, and where its results go, by (format, category)."""

    photo: Path
    name: str
    results: dict[tuple[str, str], Path]

    def is_finished(self) -> bool:
        return all(map(os.path.exists, self.results.values()))  # Path.exists raises where a name is too long


@dataclass
class Tally:
    """What became of the jobs: names of those that failed, how many show no clothes, and how many another run did."""

    failed: set[str] = field(default_factory=set)
    empty: int = 0
    done_elsewhere: int = 0


def main(options: InferOptions) -> int:
    shard = Shard.parse(options.shard)
    jobs, listing = find_jobs(options, shard)  # finds the user's mistakes before the weights are read
    unfinished = [job for job in jobs if not job.is_finished()]
    to_do = unfinished if options.skip_existing else jobs
    result_dir = escape_unprintable(options.result_dir)

    predictor = Predictor.load(**options.predictor)
    keep_freed_memory()
    print(f"device: {predictor.name}; {options.checkpoint_path} at {predictor.size[1]}x{predictor.size[0]}")
    if shard.count > 1:
        print(f"shard {shard.number} of {shard.count}: {len(jobs)} photograph(s)")
    if finished := len(jobs) - len(unfinished):
        kept = "kept" if options.skip_existing else "replaced; --skip_existing keeps them"
        print(f"{finished} photograph(s) have results in {result_dir} already: {kept}")

    for line in listing.unreadable:
        print(escape_unprintable(line), file=sys.stderr)

    try:
        with explain_errors(options.batchSize, predictor.size):
            tally = segment(to_do, predictor, options)
    except FullDiskError as error:
        raise UserError(f"{error}; free some space, then go on with --skip_existing") from None
    done = len(to_do) - len(tally.failed) - tally.done_elsewhere
    print(f"{done} of {len(to_do)} photographs segmented into {result_dir}, {tally.empty} without clothes")
    if tally.done_elsewhere:
        print(f"{tally.done_elsewhere} were segmented by another run meanwhile")
    if listing.ignored:
        kinds = ", ".join(f"{count} {escape_unprintable(suffix)}" for suffix, count in listing.ignored.most_common())
        print(f"other files, ignored: {kinds}")
    write_summaries(options, shard, jobs, tally.failed, predictor.class_names)
    if options.preset:
        written = [(job.photo, job.results) for job in jobs if job.name not in tally.failed]
        checked = tqdm(written, desc="checking", unit="photo", leave=False)
        for line in findings(options.preset, Path(options.result_dir), checked):
            print(escape_unprintable(line))
    if is_launched():  # an exit code of 1 would end the ranks that are at work
        from utils.process_group import wait_for_ranks  # imports PyTorch

        wait_for_ranks()
    return 1 if tally.failed or listing.unreadable else 0


def find_jobs(options: InferOptions, shard: Shard) -> tuple[list[Job], Listing]:
    """(the photos of this shard, what else --image_dir holds). Reads no weights. Raises UserError."""
    sources, result_dir = list(map(Path, options.image_dir)), Path(options.result_dir)
    summarised = options.report or options.coco
    if summarised and len(sources) == 1 and sources[0].is_file():
        raise UserError("--report and --coco are about a folder of photographs; --image_dir is a single one")
    listing = list_photos(sources, leave_out=result_dir)
    folder = listing.folder
    check_categories(options.category, CachedWeights(options.checkpoint_path).info.class_names)
    layout = options.layout
    apart = layout.has_folders and len(sources) == 1
    if result_dir.resolve() in {each.resolve() for each in (folder, *sources)} and not apart:
        raise UserError("--image_dir and --result_dir are the same folder; results would be mixed with photographs")

    def results_of(name: Path) -> dict[tuple[str, str], Path]:
        summary = {SUMMARISED: result_path(result_dir, name, *SUMMARISED)} if summarised else {}
        return layout.paths(result_dir, name) | summary

    names = layout.names(listing.photos)
    jobs = [Job(folder / photo, photo.as_posix(), results_of(name)) for photo, name in names.items()]
    results = [path for job in jobs for path in job.results.values()]
    if len(set(map(name_key, results))) < len(results):
        raise UserError("a sub-folder of --image_dir has the name of a result folder (such as binary_upper); rename it")
    root, target = folder.resolve(), result_dir.resolve()
    photos = {name_key(root / photo): root / photo for photo in names}
    replaced = photos.keys() & {name_key(target / path.relative_to(result_dir)) for path in results}
    if replaced:
        raise UserError(f"a result would replace the photograph {photos[min(replaced)]}; choose another --result_dir")
    make_writable_folder(result_dir)
    return shard.of(jobs), listing


def segment(jobs: list[Job], predictor: Predictor, options: InferOptions) -> Tally:
    """Segment photos and write their results; decoding, network and writing overlap. Raises FullDiskError."""
    tally, layout = Tally(), options.layout
    if isinstance(layout, Preset) and layout.of_people and (network := pose_network(options.pose)):
        layout = replace(layout, find_joints=network)

    def waiting_jobs() -> Iterator[Job]:
        for job in jobs:
            if options.skip_existing and job.is_finished():
                tally.done_elsewhere += 1
                progress.update()
            else:
                yield job

    def load(job: Job) -> Image.Image:
        photo = open_photo(job.photo, max_megapixels=options.max_megapixels)
        return layout.fit(photo) if layout.fit else photo

    with ThreadPoolExecutor(options.nThreads) as pool, tqdm(total=len(jobs), unit="photo") as progress:
        segmented = predictor.predict_stream(waiting_jobs(), load, options.batchSize, pool, layout.needs_photo)
        write = partial(write_results, layout, Postprocess(**options.postprocess))
        for (job, _), writing in prefetch(pool, write, segmented, 2 * options.batchSize):
            faults, doubt = writing.result()
            progress.update()
            for fault in faults:
                tqdm.write(fault, file=sys.stderr)
                tally.failed.add(job.name)
            if doubt:
                tally.empty += doubt == "empty"
                tqdm.write(f"{WARNINGS[doubt]}: {escape_unprintable(job.photo)}", file=sys.stderr)
    return tally


def pose_network(choice: str | None) -> PoseNetwork | None:
    """What finds joints, of --pose; says what is missing where that is nothing. Raises UserError."""
    if choice == "none":
        return None
    if choice not in (None, "auto"):
        return PoseNetwork.load(Path(choice))
    if (package := missing_package()) is None:
        return PoseNetwork.load()
    print(
        f"{package} is not installed (docs/tryon.md): masks on people are made from the clothes alone, so bare limbs "
        "stay and hands may be masked"
    )
    return None


def write_results(
    layout: OutputLayout | Preset, postprocess: Postprocess, segmented: tuple[Job, Segmentation | PhotoError]
) -> tuple[list[str], str | None]:
    """Write all results of a photo; one that cannot be written does not keep the others from being written.

    Returns (a line for each fault, why the photo should be looked at: see data/results/formats.py).
    Raises FullDiskError.
    """
    job, result = segmented
    photo = escape_unprintable(job.photo)
    if isinstance(result, PhotoError):
        advice = ", or raise --max_megapixels" if isinstance(result, TooLargeError) else ""
        return [f"skipped {photo}: {escape_unprintable(result)}{advice}"], None
    result = postprocess(result)
    try:
        encode = layout.encoder(result, Path(job.name))
    except PhotoError as error:
        return [f"skipped {photo}: {escape_unprintable(error)}"], warning(result)
    faults = []
    for (output, category), path in job.results.items():
        try:
            write_atomically(path, encode(output, category))
        except FullDiskError:
            raise
        except PhotoError as error:
            faults.append(f"cannot write {escape_unprintable(path)}: {error}")
        except UserError as error:
            faults.append(escape_unprintable(error))
    return faults, warning(result)


def write_summaries(
    options: InferOptions, shard: Shard, jobs: list[Job], failed: set[str], class_names: tuple[str, ...]
) -> None:
    """Write report.csv and coco.json of all jobs, also of an earlier run; those of a shard are named after it."""
    results = {job.name: None if job.name in failed else job.results.get(SUMMARISED) for job in jobs}
    for name, wanted in ((REPORT, options.report), (COCO, options.coco)):
        if not wanted:
            continue
        path = Path(options.result_dir, name)
        if shard.count > 1:
            path = path.with_stem(f"{path.stem}.{shard.number}-of-{shard.count}")
        earlier = write_summary(path, results, class_names)
        kept = f"; the earlier file is now {escape_unprintable(earlier.name)}" if earlier else ""
        print(f"wrote {escape_unprintable(path)}{kept}")


if __name__ == "__main__":
    run_program(main, options)
