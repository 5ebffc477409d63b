"""Train U2NET on clothes: python train.py --image_folder PHOTOS --df_path LABELS.csv (see --help)."""

from options.train_options import TrainOptions

if __name__ == "__main__":
    options = TrainOptions.from_command_line()  # before the imports that take seconds

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace

import torch

from data.classes import ClassTable, load_class_table
from data.photos.preprocessing import denormalise
from data.training.datasets import EvaluationPhotos
from data.training.loader import TrainingData, load_source, load_table
from networks.engines.torch_engine import TorchEngine
from networks.losses import Teacher, TrainingLoss
from networks.predictor import Predictor
from networks.u2net import build_network
from networks.weights.checkpoint import save_checkpoint
from networks.weights.info import CheckpointInfo
from networks.weights.surgery import check_start, start_from
from utils.devices import describe, resolve_device, resolve_precision
from utils.errors import UserError, run_program
from utils.evaluation.against_truth import validate_all
from utils.explain_errors import explain_errors
from utils.freed_memory import keep_freed_memory
from utils.process_group import any_rank, average_gradients, log, process_group, rank, share_buffers, world_size
from utils.ranks import share_of_cores
from utils.training.interruption import Interruption, kill_workers_at_end
from utils.training.run_folder import RunFolder, newest_record
from utils.training.state import TrainingState, build_state
from utils.training.step import BadSteps, train_step
from utils.training.visualizer import Visualizer


def main(options: TrainOptions) -> int:
    keep_freed_memory()
    torch.backends.cudnn.benchmark = True  # on GPUs: the fastest convolutions for images of one size
    if (threads := share_of_cores()) and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads)
    device = resolve_device(options.device)
    with explain_errors(options.batchSize, options.size, options.nThreads), process_group(device, options.distributed):
        return train(options, device)


def train(options: TrainOptions, device: torch.device) -> int:
    torch.manual_seed(options.seed)
    precision = resolve_precision(options.precision, device)
    log(f"device: {describe(device)}, {precision}, {world_size()} process(es); options: {options.changed()}")
    run = claim_folder(options, device)
    if options.start_weights:
        check_start(options.start_weights)  # before the labels are read, which takes minutes
    classes = load_class_table(options.class_map)
    info = CheckpointInfo(classes.names, options.fine_height, options.fine_width, options.mean, options.std)
    criterion = training_loss(options, info, device, precision)
    data, val_sets = training_data(options, classes, info), validation_photos(options, classes)
    state = build(options, run, info, data, device, precision)
    if state.iteration >= options.iter and not validation_due(state, options, val_sets):
        log(f"{run.path} is at iteration {state.iteration} of {options.iter} already; raise --iter to continue")
        return 0
    forward = average_gradients(torch.compile(state.network) if options.compile else state.network, device)
    bad_steps = BadSteps(options.max_bad_steps)
    if rank() == 0:
        run.record(options.save, state.network, state.iteration)
    visualizer = Visualizer(options.logs_dir, state.iteration, options.iter, state.samples_seen)
    saved = options.resume
    with visualizer, Interruption() as interruption, kill_workers_at_end(), keep_steps(state, run):
        if validation_due(state, options, val_sets):  # an interruption cut it short
            validate_and_keep_best(state, info, val_sets, run, visualizer, interruption)
        for batches in steps(data, state, options, device):
            if interruption.on_any_rank(device):
                break
            lr = options.learning_rate(state.iteration)
            result = train_step(state, forward, batches, criterion, lr, options.clip_grad)
            bad_steps.count(result.bad, state.iteration + 1, run.path)  # if this ends the run, nothing is saved
            state.advance(options.batchSize * options.accumulate * world_size())
            visualizer.progress.update()
            if state.due(options.print_freq):
                visualizer.losses(result, bad_steps.total, state)
            if state.due(options.image_log_freq):
                photos = denormalise(batches[-1].image.cpu().numpy(), info.mean, info.std)
                visualizer.pictures(photos, batches[-1].label, result.fused, state.iteration)
            if saved := state.due(options.save_freq) or state.iteration == options.iter:
                save(state, info, run, options.model)
            if validation_due(state, options, val_sets):
                validate_and_keep_best(state, info, val_sets, run, visualizer, interruption)
        if not saved:
            save(state, info, run, options.model)
    if state.iteration < options.iter or validation_due(state, options, val_sets):
        log(f"stopped by {interruption.name} at iteration {state.iteration}; continue with --resume")
        return interruption.exit_code
    log(f"trained {state.iteration} iterations, {bad_steps.total} skipped; checkpoints in {run.checkpoints}")
    return 0


def claim_folder(options: TrainOptions, device: torch.device) -> RunFolder:
    """The run's folder, and in the options a folder for its logs. Raises UserError where other runs are in the way."""
    run = RunFolder(options.save_dir)
    if rank() == 0:
        run.claim(options.resume)
        if not options.resume and (logs_dir := run.own_logs(options.logs_dir)) != options.logs_dir:
            log(f"{options.logs_dir} holds the logs of another run; those of this one go to {logs_dir}")
            options.logs_dir = logs_dir
    if any_rank(options.resume, device) != options.resume:
        raise UserError(f"{run.latest} is missing on this machine; all of them must share --save_dir")
    return run


def training_loss(options: TrainOptions, info: CheckpointInfo, device: torch.device, precision: str) -> TrainingLoss:
    teacher = Teacher(options.teacher, info, device, precision) if options.teacher else None
    of_classes = torch.tensor(options.loss_weights(len(info.class_names)), device=device)
    return TrainingLoss(
        of_classes, options.fused_weight, options.side_weight, options.iou_weight, options.teacher_weight, teacher
    )


def training_data(options: TrainOptions, classes: ClassTable, info: CheckpointInfo) -> TrainingData:
    sources = options.training_sources()
    if len(sources) > 1:
        total = sum(each.share for each in sources)
        shares = (f"{each.name} ({100 * each.share / total:.3g} % of the samples)" for each in sources)
        log(f"sources: {', '.join(shares)}")
    return TrainingData(
        [load_source(source, classes, options.max_dataset_size) for source in sources],
        classes,
        info.mean,
        info.std,
        options.seed,
        shuffle=not options.serial_batches,
        batch_size=options.batchSize,
        workers=options.nThreads,
        channels_last=options.channels_last,
    )


def validation_photos(options: TrainOptions, classes: ClassTable) -> dict[str, EvaluationPhotos]:
    return {
        each.name: EvaluationPhotos(load_table(each.df_path, each.image_folder, classes), each.close_ups)
        for each in options.validation_sets()
    }


def build(
    options: TrainOptions,
    run: RunFolder,
    info: CheckpointInfo,
    data: TrainingData,
    device: torch.device,
    precision: str,
) -> TrainingState:
    """Network and optimiser on their device, at the start or where the run was saved last."""
    network = build_network(options.model, len(info.class_names))
    if options.start_weights:
        start_from(network, info.class_names, options.start_weights, data.first_images(options.image_size(0)), log)
    memory_format = torch.channels_last if options.channels_last else torch.preserve_format
    network.to(device, memory_format=memory_format).train()
    state = build_state(network, options.optimizer, options.lr, options.weight_decay, options.ema_decay, precision)
    state.classes, state.description = data.classes.as_lists(), asdict(info)
    if options.resume:
        state.load(run.latest)
        log(f"{run.latest}: resumed at iteration {state.iteration}")
        if change := options.change_of_schedule(newest_record(run.path), state.iteration):
            log(change)
    return state


def steps(data: TrainingData, state: TrainingState, options: TrainOptions, device: torch.device) -> Iterator[list]:
    """The batches of each step up to options.iter. Where the image size changes, loading begins again."""
    size = None
    while state.iteration < options.iter:
        if size != options.image_size(state.iteration):
            size = options.image_size(state.iteration)
            samples = data.batches(size, state.samples_seen, device)
        yield [next(samples) for _ in range(options.accumulate)]


@contextmanager
def keep_steps(state: TrainingState, run: RunFolder) -> Iterator[None]:
    """Save the state where an error between two steps ends the run: a photo folder that is gone, a killed worker."""
    begun = state.iteration
    try:
        yield
    except Exception:
        if rank() == 0 and state.between_steps and state.iteration > begun:
            with suppress(Exception):  # the error that came first is the one to tell
                run.save(state)
                log(f"saved at iteration {state.iteration}; continue with --resume")
        raise


def validation_due(state: TrainingState, options: TrainOptions, sets: dict[str, EvaluationPhotos]) -> bool:
    """Whether to measure the weights: every val_freq iterations and at the end, also where it was cut short before."""
    now = state.due(options.val_freq) or state.iteration == options.iter
    return bool(sets) and now and state.validated < state.iteration


def validate_and_keep_best(
    state: TrainingState,
    info: CheckpointInfo,
    sets: dict[str, EvaluationPhotos],
    run: RunFolder,
    visualizer: Visualizer,
    interruption: Interruption,
) -> None:
    """Measure the weights, save them if none before were better on these sets, and save the state that knows of it.

    An interruption ends it early, and the figures, which are then of part of the photographs, are dropped: the run that
    is resumed begins with it.
    """
    device = next(state.network.parameters()).device
    share_buffers(state.weights)
    predictor = Predictor(TorchEngine(copy.deepcopy(state.weights), device, state.precision), info)
    metrics = validate_all(predictor, sets, device, interruption)
    if interruption.on_any_rank(device):
        return
    log(f"iteration {state.iteration}: {', '.join(f'{name} {value:.4f}' for name, value in metrics.items())}")
    measured = {name: len(photos) for name, photos in sets.items()}
    if metrics["miou"] > state.best_miou or state.best_on not in (None, measured):  # other sets cannot be compared
        if rank() == 0:
            info = replace(info, iteration=state.iteration, metrics=metrics)
            save_checkpoint(run.checkpoints / "best.pth", state.weights, info)
        state.best_miou, state.best_on = metrics["miou"], measured
    state.validated = state.iteration
    if rank() == 0:
        run.save(state)
    # Only now: a run that is killed before measures again, and the figures would stand there twice.
    visualizer.scalars({f"val/{name}": value for name, value in metrics.items()}, state.iteration)


def save(state: TrainingState, info: CheckpointInfo, run: RunFolder, model: str) -> None:
    """Save the weights to keep, and the state to resume from, which replaces the one before."""
    if rank() == 0:
        path = run.checkpoints / f"itr_{state.iteration:08d}_{model}.pth"
        save_checkpoint(path, state.weights, replace(info, iteration=state.iteration))
        run.save(state)


if __name__ == "__main__":
    run_program(main, options)
