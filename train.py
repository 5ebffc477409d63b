"""Train U2NET on clothes: python train.py --image_folder PHOTOS --df_path LABELS.csv (see --help)."""

from options.train_options import RECORD, TrainOptions

if __name__ == "__main__":
    options = TrainOptions.from_command_line()  # before the imports that take seconds

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel

from data.classes import ClassTable, load_class_table
from data.label_values import PALETTE
from data.photos.preprocessing import denormalise
from data.training.loader import LoadedSource, TrainingData, load_table
from data.training.samples import EvaluationPhotos
from networks.engines.torch_engine import TorchEngine
from networks.losses import TrainingLoss
from networks.predictor import Predictor
from networks.teacher import Teacher
from networks.u2net import build_network
from networks.weights.checkpoint import save_checkpoint
from networks.weights.info import CheckpointInfo
from networks.weights.surgery import check_start, start_from
from utils.devices import describe, resolve_device, resolve_precision
from utils.errors import UserError, run_program
from utils.evaluation.compare import validate
from utils.files import write_atomically
from utils.memory import keep_freed_memory
from utils.process_group import log, process_group, rank, share_buffers, world_size
from utils.ranks import local_rank, local_world_size
from utils.runtime_errors import explain_errors
from utils.training.interruption import Interruption, kill_workers_at_end
from utils.training.schedules import image_size, learning_rate
from utils.training.state import TrainingState, build_state
from utils.training.step import BadSteps, KeptBuffers, train_step
from utils.training.visualizer import Visualizer


def main(options: TrainOptions) -> int:
    keep_freed_memory()
    device = resolve_device(options.device, local_rank(), local_world_size())
    with explain_errors(options.batchSize, options.size, options.nThreads), process_group(device, options.distributed):
        return train(options, device)


def train(options: TrainOptions, device: torch.device) -> int:
    torch.manual_seed(options.seed)
    precision = resolve_precision(options.precision, device)
    log(f"device: {describe(device)}, {precision}, {world_size()} process(es); options: {options.changed()}")
    run_dir = Path(options.save_dir)
    if (run_dir / "latest.pth").exists() and not options.resume:
        raise UserError(f"{run_dir} holds a run already; continue it with --resume, or choose another --name")

    if options.continue_train and not options.resume:
        check_start(options.unet_checkpoint)  # before the labels are read, which takes minutes
    classes = load_class_table(options.class_map)
    info = CheckpointInfo(classes.names, options.fine_height, options.fine_width, options.mean, options.std)
    loss_of = TrainingLoss(
        Teacher(options.teacher, info, device, precision) if options.teacher else None,
        class_weights=torch.tensor(options.loss_weights(len(classes.names)), device=device),
        fused_weight=options.fused_weight,
        side_weight=options.side_weight,
        iou_weight=options.iou_weight,
        teacher_weight=options.teacher_weight,
    )
    data = training_data(options, classes)
    val_sets = {
        each.name: EvaluationPhotos(load_table(each.df_path, each.image_folder, classes), each.close_ups)
        for each in options.validation_sets()
    }
    size_at = partial(image_size, total=options.iter, full=options.size, stages=options.size_stages)

    network = build_network(options.model, len(classes.names))
    if options.continue_train and not options.resume:
        start_from(network, options.unet_checkpoint, data.first_images(size_at(0)), log)
    network.to(device, memory_format=torch.channels_last if options.channels_last else torch.preserve_format).train()
    state = build_state(network, options.optimizer, options.lr, options.weight_decay, options.ema_decay, precision)
    if options.resume:
        state.load(run_dir / "latest.pth")
        if state.iteration >= options.iter:
            log(f"{run_dir} is at iteration {state.iteration} of {options.iter} already; raise --iter to continue")
            return 0
    forward = torch.compile(network) if options.compile else network
    if world_size() > 1:
        forward = DistributedDataParallel(forward, device_ids=[device] if device.type == "cuda" else None)

    write_record(options, state, run_dir)
    kept, bad_steps, size = KeptBuffers(network), BadSteps(options.max_bad_steps), None
    visualizer = Visualizer(options.logs_dir, PALETTE, state.iteration, options.iter, state.samples_seen)
    with visualizer, Interruption() as interruption, kill_workers_at_end():
        while state.iteration < options.iter and not interruption.stops_before(state.iteration, device):
            lr = learning_rate(state.iteration, options.iter, options.lr, options.schedule, options.warmup_iter)
            if size_at(state.iteration) != size:
                size = size_at(state.iteration)
                samples = data.batches(size, state.samples_seen, device)
            batches = [next(samples) for _ in range(options.accumulate)]
            result = train_step(state, forward, batches, loss_of, lr, options.clip_grad, kept, precision)
            state.iteration += 1
            state.samples_seen += options.batchSize * options.accumulate * world_size()
            bad_steps.count(result.bad, state.iteration, run_dir)

            visualizer.progress.update()
            if state.iteration % options.print_freq == 0:
                visualizer.losses(result.loss, result.losses, lr, bad_steps.total, state.iteration, state.samples_seen)
            if state.iteration % options.image_log_freq == 0:
                photos = denormalise(batches[-1].image.cpu().numpy(), options.mean, options.std)
                visualizer.pictures(photos, batches[-1].label, result.fused, state.iteration)
            if val_sets and (state.iteration % options.val_freq == 0 or state.iteration == options.iter):
                share_buffers(state.weights)
                predictor = Predictor(TorchEngine(copy.deepcopy(state.weights), device, precision), info)
                metrics = validate_all(predictor, val_sets, device, interruption)
                if not interruption.on_any_rank(device):  # or the figures are of part of the photographs
                    visualizer.scalars({f"val/{name}": value for name, value in metrics.items()}, state.iteration)
                    keep_best(state, replace(info, iteration=state.iteration, metrics=metrics), run_dir)
            if state.iteration % options.save_freq == 0:
                save(state, info, run_dir, options.model)

        if state.iteration % options.save_freq or not state.iteration:
            save(state, info, run_dir, options.model)
    if state.iteration < options.iter:
        log(f"stopped by {interruption.name} at iteration {state.iteration}; continue with --resume")
        return interruption.exit_code
    log(f"trained {state.iteration} iterations, {bad_steps.total} skipped; checkpoints in {run_dir / 'checkpoints'}")
    return 0


def training_data(options: TrainOptions, classes: ClassTable) -> TrainingData:
    sources = options.training_sources()
    if len(sources) > 1:
        log(f"sources: {', '.join(f'{each.name} ({each.share:g} of the samples)' for each in sources)}")
    return TrainingData(
        [LoadedSource.load(source, classes, options.max_dataset_size) for source in sources],
        len(classes.names),
        options.mean,
        options.std,
        options.seed,
        shuffle=not options.serial_batches,
        batch_size=options.batchSize,
        workers=options.nThreads,
        channels_last=options.channels_last,
    )


def validate_all(
    predictor: Predictor, sets: dict[str, EvaluationPhotos], device: torch.device, interruption: Interruption
) -> dict[str, float]:
    """Figures of each set, behind its name; of several sets also ``miou``, the mean of theirs. Raises UserError."""
    metrics = {}
    for name, photos in sets.items():
        of_set = validate(predictor, photos, device, interruption)
        metrics |= {f"{name}/{figure}" if name else figure: value for figure, value in of_set.items()}
    if "miou" not in metrics:
        metrics["miou"] = sum(metrics[f"{name}/miou"] for name in sets) / len(sets)
    return metrics


def keep_best(state: TrainingState, info: CheckpointInfo, run_dir: Path) -> None:
    """Save the weights that ``info.metrics`` are of, if none before were better, and the state that knows of them."""
    log(f"iteration {state.iteration}: {', '.join(f'{name} {value:.4f}' for name, value in info.metrics.items())}")
    if info.metrics["miou"] > state.best_miou:
        state.best_miou = info.metrics["miou"]
        if rank() == 0:
            save_checkpoint(run_dir / "checkpoints/best.pth", state.weights, info)
            state.save(run_dir / "latest.pth")


def save(state: TrainingState, info: CheckpointInfo, run_dir: Path, model: str) -> None:
    """Save the weights to keep, and the state to resume from, which replaces the one before."""
    if rank() == 0:
        path = run_dir / f"checkpoints/itr_{state.iteration:08d}_{model}.pth"
        save_checkpoint(path, state.weights, replace(info, iteration=state.iteration))
        state.save(run_dir / "latest.pth")


def write_record(options: TrainOptions, state: TrainingState, run_dir: Path) -> None:
    """Keep options and network beside the run; the record of a resumed part does not replace the first one."""
    if rank() == 0:
        suffix = f"_from_{state.iteration:08d}" if state.iteration else ""
        options.save((run_dir / RECORD).with_stem(f"{Path(RECORD).stem}{suffix}"))
        write_atomically(run_dir / "networks.txt", f"{state.network}\n".encode())


if __name__ == "__main__":
    run_program(main, options)
