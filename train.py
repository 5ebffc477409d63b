"""Train U2NET on clothes: python train.py --image_folder PHOTOS --df_path LABELS.csv (see --help)."""

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from tqdm import tqdm

from data.classes import CLOTHES, ClassTable, load_class_table, palette
from data.imaterialist_dataset import IMaterialistDataset
from data.imaterialist_table import LabelTable, read_table
from data.sampler import EndlessSampler
from data.transforms import denormalise
from networks.batchnorm import has_statistics, restore_statistics
from networks.checkpoint import CheckpointInfo, build_network, initialise, save_checkpoint
from networks.evaluation import validate
from networks.losses import deep_supervision_loss, loss_weights
from networks.training_state import TrainingState
from options.train_options import TrainOptions
from utils.devices import autocast, describe, resolve_device, resolve_precision
from utils.distributed import local_rank, process_group, rank, world_size
from utils.errors import UserError, run_program
from utils.interruption import Interruption, ignore_in_worker
from utils.schedules import ema_update, learning_rate
from utils.visualizer import Visualizer

PHOTOS_FOR_STATISTICS = 64
OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def main() -> int:
    options = TrainOptions.parse()
    device = resolve_device(options.device, local_rank())
    with process_group(device, options.distributed):
        return train(options, device)


def train(options: TrainOptions, device: torch.device) -> int:
    torch.manual_seed(options.seed)
    precision = resolve_precision(options.precision, device)
    say(f"device: {describe(device)}, {precision}, {world_size()} process(es); options: {options.changed()}")
    run_dir = check_run_dir(options)

    classes = load_class_table(options.class_map) if options.class_map else CLOTHES
    table = load_table(options.df_path, options.image_folder, classes, options.max_dataset_size)
    val_table = options.val_df_path and load_table(options.val_df_path, options.val_image_folder, classes)
    class_weights = loss_weights(options.class_weights, len(classes.names)).to(device)

    network = build_network(options.model, len(classes.names))
    if options.continue_train and not options.resume:
        start_from(network, options.unet_checkpoint, training_photos(options, table, options.size_at(0)))
    network.to(device, memory_format=torch.channels_last if options.channels_last else torch.preserve_format)
    ema = (
        AveragedModel(network, multi_avg_fn=ema_update(options.ema_decay), use_buffers=True)
        if options.ema_decay
        else None
    )
    optimizer = OPTIMIZERS[options.optimizer](network.parameters(), options.lr, weight_decay=options.weight_decay)
    state = TrainingState(network, ema, optimizer)
    if options.resume:
        state.load(run_dir / "latest.pth")
        if state.iteration >= options.iter:
            say(f"{run_dir} is at iteration {state.iteration} of {options.iter} already; raise --iter to go on")
            return 0

    forward = torch.compile(network) if options.compile else network
    if world_size() > 1:
        forward = DistributedDataParallel(forward, device_ids=[device] if device.type == "cuda" else None)
    info = CheckpointInfo(classes.names, options.fine_height, options.fine_width, options.mean, options.std)
    if rank() == 0:
        options.save(run_dir / "training_options.yml")
        (run_dir / "networks.txt").write_text(f"{network}\n", encoding="utf-8")
        purge_step = state.iteration + 1 if options.resume else None
        visualizer = Visualizer(options.logs_dir, palette(len(classes.names)), purge_step)

    interruption = Interruption().listen()
    photos_a_step = options.batchSize * options.accumulate * world_size()
    skipped = skipped_in_a_row = 0
    logged_at, logged_iteration = time.perf_counter(), state.iteration
    size = None
    network.train()
    progress = tqdm(initial=state.iteration, total=options.iter, disable=rank() != 0, unit="it")
    while state.iteration < options.iter and not interruption.on_any_rank(device):
        lr = learning_rate(state.iteration, options.iter, options.lr, options.schedule, options.warmup_iter)
        for group in optimizer.param_groups:
            group["lr"] = lr
        if (size_now := options.size_at(state.iteration)) != size:
            size = size_now
            dataset = training_photos(options, table, size)
            batches = load_batches(options, dataset, device, state.samples_seen // world_size())

        buffers_before = [buffer.clone() for buffer in network.buffers()]
        for part, (image, label) in enumerate(islice(batches, options.accumulate), 1):
            more_to_come = part < options.accumulate and world_size() > 1
            with forward.no_sync() if more_to_come else nullcontext():
                with autocast(device, precision):
                    outputs = forward(image)
                loss, losses = deep_supervision_loss(
                    outputs, label, class_weights, options.fused_weight, options.side_weight, options.iou_weight
                )
                (loss / options.accumulate).backward()
        if step(network, optimizer, options.clip_grad):
            skipped_in_a_row = 0
            if ema:
                ema.update_parameters(network)
        else:
            for buffer, before in zip(network.buffers(), buffers_before, strict=True):
                buffer.copy_(before)  # the bad batch has gone into the batch norms' statistics
            skipped, skipped_in_a_row = skipped + 1, skipped_in_a_row + 1
            if skipped_in_a_row >= options.max_bad_steps:
                raise UserError(
                    f"{skipped_in_a_row} non-finite steps in a row at iteration {state.iteration + 1}; lower --lr "
                    f"(the last state saved in {run_dir} can be resumed)"
                )
        state.iteration += 1
        state.samples_seen += photos_a_step
        progress.update()

        if rank() == 0 and state.iteration % options.print_freq == 0:
            now = time.perf_counter()
            speed = photos_a_step * (state.iteration - logged_iteration) / (now - logged_at)
            logged_at, logged_iteration = now, state.iteration
            scalars = {"total_loss": loss.item()} | {f"loss{i}": part.item() for i, part in enumerate(losses)}
            scalars |= {"lr": lr, "images_per_second": speed, "skipped_steps": skipped}
            visualizer.scalars(scalars, state.iteration)
            progress.set_postfix_str(f"loss {loss.item():.3f}, {speed:.1f} img/s, {skipped} skipped")
        if rank() == 0 and state.iteration % options.image_log_freq == 0:
            photos = denormalise(image, options.mean, options.std)
            visualizer.pictures(photos, label, outputs[0].detach(), state.iteration)
        if val_table and (state.iteration % options.val_freq == 0 or state.iteration == options.iter):
            metrics = validate(state.weights, info, val_table, device, precision, interruption)
            if not interruption.on_any_rank(device):  # or the figures are of part of the photographs
                figures = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
                say(f"iteration {state.iteration}: {figures}")
                is_best = metrics["miou"] > state.best_miou
                state.best_miou = max(state.best_miou, metrics["miou"])
                if rank() == 0:
                    visualizer.scalars({f"val/{name}": value for name, value in metrics.items()}, state.iteration)
                    if is_best:
                        save_weights(state, replace(info, metrics=metrics), run_dir / "checkpoints" / "best.pth")
        if rank() == 0 and state.iteration % options.save_freq == 0:
            save(state, info, run_dir, options.model)

    progress.close()
    if rank() == 0:
        if state.iteration % options.save_freq:
            save(state, info, run_dir, options.model)
        visualizer.close()
    if state.iteration < options.iter:
        say(f"stopped by {interruption.name} at iteration {state.iteration}; go on with --resume")
        return interruption.exit_code
    say(f"trained {state.iteration} iterations, {skipped} skipped; checkpoints in {run_dir / 'checkpoints'}")
    return 0


def say(text: str) -> None:
    if rank() == 0:
        tqdm.write(text)


def check_run_dir(options: TrainOptions) -> Path:
    """The run's folder: with a run to resume in it, or without one to overwrite. Raises UserError."""
    run_dir = Path(options.save_dir)
    there = (run_dir / "latest.pth").exists()
    if options.resume and not there:
        raise UserError(f"no run to resume in {run_dir}; leave out --resume, or set --name or --save_dir")
    if there and not options.resume:
        raise UserError(f"{run_dir} holds a run already; go on with --resume, or choose another --name")
    return run_dir


def load_table(df_path: str, image_folder: str, classes: ClassTable, most: float = math.inf) -> LabelTable:
    table = read_table(df_path, image_folder, classes, most, progress=rank() == 0)
    say(f"{df_path}: {len(table)} photographs, {len(table.label)} clothes masks")
    for line in table.skipped.lines():
        say(f"  {line}")
    return table


def training_photos(options: TrainOptions, table: LabelTable, size: tuple[int, int]) -> IMaterialistDataset:
    """The training samples at ``size`` = (h, w)."""
    return IMaterialistDataset(
        table,
        size,
        options.mean,
        options.std,
        options.augment,
        options.min_crop_area,
        options.close_ups,
        options.seed,
    )


def load_batches(options: TrainOptions, dataset, device: torch.device, start: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches on the device: image N x 3 x h x w float32, label N x h x w int64."""
    sampler = EndlessSampler(dataset, rank(), world_size(), not options.serial_batches, options.seed, start)
    loader = DataLoader(
        dataset,
        options.batchSize,
        sampler=sampler,
        num_workers=options.nThreads,
        pin_memory=device.type == "cuda",
        worker_init_fn=ignore_in_worker,
    )
    memory_format = torch.channels_last if options.channels_last else torch.contiguous_format
    for image, label in loader:
        yield (
            image.to(device, non_blocking=True, memory_format=memory_format),
            label.to(device, non_blocking=True),
        )


def start_from(network: nn.Module, path: str, dataset: IMaterialistDataset) -> None:
    """Copy the weights to start from, and give folded ones their batch norm back."""
    if not Path(path).is_file():
        raise UserError(
            f"no weights to start from at {path}; run python setup_model_weights.py, set --unet_checkpoint, "
            "or start from scratch with --no-continue_train"
        )
    copied, left = initialise(network, path)
    say(f"{path}: {copied} tensors copied, {left} of the head left as initialised")
    if not has_statistics(network):
        photos = min(PHOTOS_FOR_STATISTICS, len(dataset))
        say(f"its batch norm was folded: taking statistics from {photos} photographs")
        restore_statistics(network, (dataset[i][0][None] for i in range(photos)))


def step(network: nn.Module, optimizer: torch.optim.Optimizer, clip_grad: float) -> bool:
    """Clip the gradients, step and clear them; False, with no step, where they are not finite.

    Gradients are averaged over the ranks by now, so that every rank comes to the same verdict.
    """
    norm = nn.utils.clip_grad_norm_(network.parameters(), clip_grad or math.inf)
    finite = bool(torch.isfinite(norm))
    if finite:
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return finite


def save_weights(state: TrainingState, info: CheckpointInfo, path: Path) -> None:
    save_checkpoint(path, state.weights, replace(info, iteration=state.iteration))


def save(state: TrainingState, info: CheckpointInfo, run_dir: Path, model: str) -> None:
    """The weights to keep, and the state to resume from, which replaces the one before."""
    save_weights(state, info, run_dir / "checkpoints" / f"itr_{state.iteration:08d}_{model}.pth")
    state.save(run_dir / "latest.pth")


if __name__ == "__main__":
    run_program(main)
