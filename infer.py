"""Segment the clothes on a photograph, or on all of a folder: python infer.py (see --help)."""

from options.infer_options import InferOptions

if __name__ == "__main__":
    options = InferOptions.from_command_line()  # before the imports that take seconds

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from data.photos.folder import bare_names, list_folder, result_names
from data.photos.open import PhotoError, open_photo
from data.results.formats import OutputLayout, result_path, warning
from data.results.postprocess import Postprocess
from data.results.run_report import COCO, REPORT, refuse_foreign, write_coco, write_report
from data.results.segmentation import Segmentation
from data.results.tryon import Preset
from networks.engines.onnx_cache import CachedWeights
from networks.predictor import Predictor
from utils.errors import UserError, escape_unprintable, run_program
from utils.files import FullDiskError, make_writable_folder, write_atomically
from utils.memory import keep_freed_memory
from utils.prefetch import prefetch
from utils.ranks import is_launched
from utils.runtime_errors import explain_errors

SUMMARISED = ("json", "any")  # the result of each photo that report.csv and coco.json are made from
WARNINGS = {
    "empty": "no clothes found",
    "nearly full": "nearly all of it is called clothes",
    "low confidence": "the network is unsure",
}


@dataclass
class Job:
    """A photograph, its name in the folder, and where its results go, by (format, category)."""

    photo: Path
    name: str
    results: dict[tuple[str, str], Path]


@dataclass
class Plan:
    """What to do.

    photographs: all of this process's shard; jobs: those to segment. existing: how many have all their results.
    passed_over: other files, by suffix.
    """

    photographs: list[Job]
    jobs: list[Job]
    existing: int
    passed_over: Counter[str]


@dataclass
class Tally:
    """What became of all jobs. failed: names. warnings: how many of each. elsewhere: done by another run meanwhile."""

    failed: set[str] = field(default_factory=set)
    warnings: Counter[str] = field(default_factory=Counter)
    elsewhere: int = 0


@dataclass
class Outcome:
    """What became of a job. faults: one line for each thing that failed. warning: see data/results/formats.py."""

    faults: list[str]
    warning: str | None = None


def main(options: InferOptions) -> int:
    plan = make_plan(options)  # finds the user's mistakes before the weights are read
    predictor = Predictor.load(**options.predictor)
    keep_freed_memory()
    print(f"device: {predictor.name}; {options.checkpoint_path} at {predictor.size[1]}x{predictor.size[0]}")
    if options.part.count > 1:
        print(f"shard {options.part.number} of {options.part.count}: {len(plan.photographs)} photograph(s)")
    if plan.existing:
        kept = "kept" if options.skip_existing else "replaced; --skip_existing keeps them"
        print(f"{plan.existing} photograph(s) have results in {escape_unprintable(options.result_dir)} already: {kept}")

    try:
        with explain_errors(options.batchSize, predictor.size):
            tally = segment(plan.jobs, predictor, options)
    except FullDiskError as error:
        raise UserError(f"{error}; free some space, then go on with --skip_existing") from None
    done, result_dir = len(plan.jobs) - len(tally.failed) - tally.elsewhere, escape_unprintable(options.result_dir)
    empty = tally.warnings["empty"]
    print(f"{done} of {len(plan.jobs)} photographs segmented into {result_dir}, {empty} without clothes")
    if tally.elsewhere:
        print(f"{tally.elsewhere} were segmented by another run meanwhile")
    if plan.passed_over:
        kinds = ", ".join(f"{count} {escape_unprintable(suffix)}" for suffix, count in plan.passed_over.most_common())
        print(f"other files, ignored: {kinds}")
    write_summaries(plan, tally.failed, predictor.class_names, options)
    if is_launched():  # an exit code of 1 would end the ranks that are at work
        from utils.process_group import wait_for_ranks  # imports PyTorch

        wait_for_ranks()
    return 1 if tally.failed else 0


def make_plan(options: InferOptions) -> Plan:
    """What there is to do; no weights are read for it. Raises UserError."""
    folder, result_dir = Path(options.image_dir), Path(options.result_dir)
    if folder.is_file():
        if summaries(options):
            raise UserError("--report and --coco are about a folder of photographs; --image_dir is a single one")
        folder, photos, others = folder.parent, [Path(folder.name)], Counter()
    else:
        photos, others = list_folder(folder, leave_out=result_dir)
    if folder.resolve() == result_dir.resolve():
        raise UserError("--image_dir and --result_dir are the same folder; results would be mixed with photographs")

    known = ("any", *CachedWeights(options.checkpoint_path).info.class_names[1:])
    for category in options.category:
        if category not in known:
            raise UserError(f"--category {category}: this checkpoint knows {', '.join(known)}")
    names = bare_names(photos) if options.preset else result_names(photos)

    paths, summarised = options.layout.paths, bool(summaries(options))

    def results_of(name: Path) -> dict[tuple[str, str], Path]:
        results = paths(result_dir, name)
        return results | {SUMMARISED: result_path(result_dir, name, *SUMMARISED)} if summarised else results

    check_names(names, results_of, folder, result_dir)
    mine = options.part.of(list(names.items()))
    jobs = [Job(folder / photo, photo.as_posix(), results_of(name)) for photo, name in mine]
    for path in summaries(options):
        refuse_foreign(path)
    make_writable_folder(result_dir)
    finished = list(map(is_finished, jobs))
    to_do = [job for job, done in zip(jobs, finished, strict=True) if not (done and options.skip_existing)]
    return Plan(jobs, to_do, sum(finished), others)


def check_names(names: dict[Path, Path], results_of: Callable[[Path], dict], folder: Path, result_dir: Path) -> None:
    """Raise UserError where two results, or a result and a photograph, would have the same path.

    names: of the results, by photo. Looks at single files only where that can be: there may be a million.
    """
    kinds = {path.relative_to(result_dir).parts[0] for path in results_of(Path("a")).values()}
    like_kinds = any(name.parts[0] in kinds for name in names.values())
    around = folder.resolve().is_relative_to(result_dir.resolve())
    if not (like_kinds or around):
        return
    results = [path for name in names.values() for path in results_of(name).values()]
    if len(set(results)) < len(results):
        raise UserError("a sub-folder of --image_dir has the name of a result folder (such as binary_upper); rename it")
    photos = {folder.resolve() / photo for photo in names}
    replaced = photos.intersection(result_dir.resolve() / path.relative_to(result_dir) for path in results)
    if replaced:
        raise UserError(f"a result would replace the photograph {min(replaced)}; choose another --result_dir")


def is_finished(job: Job) -> bool:
    return all(map(exists, job.results.values()))


def exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, or a folder that may not be read
        return False


def segment(jobs: list[Job], predictor: Predictor, options: InferOptions) -> Tally:
    """Segment photographs and write their results.

    Decoding, the network and writing go on at the same time. Raises FullDiskError.
    """

    def load(job: Job) -> Image.Image:
        return open_photo(job.photo, max_megapixels=options.max_megapixels)

    tally, layout = Tally(), options.layout

    def unfinished() -> Iterator[Job]:
        for job in jobs:
            if options.skip_existing and is_finished(job):
                tally.elsewhere += 1
                progress.update()
            else:
                yield job

    with ThreadPoolExecutor(options.nThreads) as pool, tqdm(total=len(jobs), unit="photo") as progress:
        segmented = predictor.predict_stream(unfinished(), load, options.batchSize, pool, layout.needs_photo)
        write = partial(write_results, layout, Postprocess(**options.postprocess))
        for (job, _), writing in prefetch(pool, write, segmented, 2 * options.batchSize):
            outcome = writing.result()
            progress.update()
            for fault in outcome.faults:
                tqdm.write(fault, file=sys.stderr)
            if outcome.faults:
                tally.failed.add(job.name)
            if outcome.warning:
                tally.warnings[outcome.warning] += 1
                tqdm.write(f"{WARNINGS[outcome.warning]}: {escape_unprintable(job.photo)}", file=sys.stderr)
    return tally


def write_results(
    layout: OutputLayout | Preset, postprocess: Postprocess, segmented: tuple[Job, Segmentation | PhotoError]
) -> Outcome:
    """Write all results of a photograph; one that cannot be written does not keep the others from being written.

    Raises FullDiskError.
    """
    job, result = segmented
    if isinstance(result, PhotoError):
        return Outcome([f"skipped {escape_unprintable(job.photo)}: {result}"])
    result = postprocess(result)
    encode = layout.encoder(result)
    faults = []
    for (output, category), path in job.results.items():
        try:
            write_atomically(path, encode(output, category))
        except FullDiskError:
            raise
        except UserError as error:
            faults.append(escape_unprintable(error))
    return Outcome(faults, warning(result))


def summaries(options: InferOptions) -> list[Path]:
    """The files about the whole run that are asked for; a shard's have its number in their names."""
    paths = [
        Path(options.result_dir, name) for name, wanted in ((REPORT, options.report), (COCO, options.coco)) if wanted
    ]
    number, count = options.part
    return [path.with_stem(f"{path.stem}.{number}-of-{count}") for path in paths] if count > 1 else paths


def write_summaries(plan: Plan, failed: set[str], class_names: tuple[str, ...], options: InferOptions) -> None:
    """Write them from the JSON results of all photographs, also of those that an earlier run segmented."""
    for path in summaries(options):
        results = {job.name: None if job.name in failed else job.results[SUMMARISED] for job in plan.photographs}
        write = write_report if path.suffix == ".csv" else write_coco
        write(path, results, class_names)
        print(f"wrote {escape_unprintable(path)}")


if __name__ == "__main__":
    run_program(main, options)
