"""Train U2NET on clothes: python train.py --image_folder PHOTOS --df_path LABELS.csv (see --help)."""

import copy
import math
import time
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

from data.classes import CLOTHES, load_class_table, palette
from data.imaterialist_dataset import IMaterialistDataset
from data.imaterialist_table import LabelTable, read_table
from data.sampler import EndlessSampler
from data.transforms import denormalise
from networks.batchnorm import has_statistics, restore_statistics
from networks.checkpoint import CheckpointInfo, build_network, initialise, load_safely, save_atomically, save_checkpoint
from networks.evaluation import predictions
from networks.losses import deep_supervision_loss
from networks.predictor import Predictor
from options.train_options import TrainOptions
from utils.devices import autocast, describe, resolve_device, resolve_precision
from utils.distributed import any_rank, local_rank, process_group, rank, world_size
from utils.errors import UserError, run_program
from utils.interruption import Interruption, ignore_in_worker
from utils.metrics import ConfusionMatrix
from utils.visualizer import Visualizer

PHOTOS_FOR_STATISTICS = 64


def main() -> int:
    options = TrainOptions.parse()
    device = resolve_device(options.device, local_rank())
    with process_group(device, options.distributed):
        return train(options, device)


def train(options: TrainOptions, device: torch.device) -> int:
    is_main = rank() == 0
    say = print if is_main else lambda *_: None
    torch.manual_seed(options.seed)
    precision = resolve_precision(options.precision, device)
    say(f"device: {describe(device)}, {precision}, {world_size()} process(es); options: {options.changed()}")

    classes = load_class_table(options.class_map) if options.class_map else CLOTHES
    table = checked_table(options.image_folder, options.df_path, classes, options.max_dataset_size, say)
    val_table = None
    if options.val_df_path:
        val_table = checked_table(options.val_image_folder, options.val_df_path, classes, math.inf, say)
    size = (options.fine_height, options.fine_width)
    dataset = IMaterialistDataset(table, size, options.mean, options.std, options.augment, options.seed)
    class_weights = loss_weights(options.class_weights, len(classes.names)).to(device)

    run_dir = Path(options.save_dir)
    network, state = start_network(options, run_dir, len(classes.names), dataset, say)
    start = state.get("iteration", 0)
    if start >= options.iter:
        say(f"{run_dir} is already at iteration {start} of {options.iter}; raise --iter to go on")
        return 0
    network = network.to(device, memory_format=torch.channels_last if options.channels_last else torch.preserve_format)
    ema = (
        AveragedModel(network, multi_avg_fn=ema_update(options.ema_decay), use_buffers=True)
        if options.ema_decay
        else None
    )
    optimizer = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[options.optimizer](
        network.parameters(), lr=options.lr, weight_decay=options.weight_decay
    )
    if state:
        restore(state, network, ema, optimizer, run_dir)
    forward = torch.compile(network) if options.compile else network
    if world_size() > 1:
        forward = DistributedDataParallel(forward, device_ids=[device] if device.type == "cuda" else None)

    seen = state.get("samples_seen", 0)
    loader = DataLoader(
        dataset,
        options.batchSize,
        sampler=EndlessSampler(
            dataset, rank(), world_size(), not options.serial_batches, options.seed, start=seen // world_size()
        ),
        num_workers=options.nThreads,
        pin_memory=device.type == "cuda",
        worker_init_fn=ignore_in_worker,
    )
    info = CheckpointInfo(classes.names, *size, options.mean, options.std)
    best = state.get("best", -1.0)

    def save(iteration: int) -> None:
        if is_main:
            weights = ema.module if ema else network
            name = f"itr_{iteration:08d}_{options.model}.pth"
            save_checkpoint(run_dir / "checkpoints" / name, weights, replace(info, iteration=iteration))
            save_atomically(
                {
                    "iteration": iteration,
                    "samples_seen": seen,
                    "best": best,
                    "network": network.state_dict(),
                    "ema": ema.state_dict() if ema else None,
                    "optimizer": optimizer.state_dict(),
                    "random_state": torch.get_rng_state(),
                },
                run_dir / "latest.pth",
            )

    visualizer = None
    if is_main:
        options.save(run_dir / "training_options.yml")
        (run_dir / "networks.txt").write_text(f"{network}\n", encoding="utf-8")
        visualizer = Visualizer(options.logs_dir, palette(len(classes.names)), purge_step=start + 1 if start else None)
    interruption = Interruption().listen()
    batches = iter(loader)
    bad_steps = bad_in_a_row = 0
    window, window_start = 0, time.perf_counter()
    progress = tqdm(
        range(start + 1, options.iter + 1), initial=start, total=options.iter, disable=not is_main, unit="it"
    )
    network.train()
    for iteration in progress:
        lr = learning_rate(options, iteration - 1)
        for group in optimizer.param_groups:
            group["lr"] = lr
        before = [buffer.clone() for buffer in network.buffers()]
        for part, (image, label) in enumerate(islice(batches, options.accumulate), 1):
            image, label = image.to(device, non_blocking=True), label.to(device, non_blocking=True)
            if options.channels_last:
                image = image.contiguous(memory_format=torch.channels_last)
            waits = world_size() > 1 and part < options.accumulate
            with forward.no_sync() if waits else nullcontext(), autocast(device, precision):
                outputs = forward(image)
                loss, losses = deep_supervision_loss(
                    outputs, label, class_weights, options.fused_weight, options.side_weight
                )
                (loss / options.accumulate).backward()
        seen += options.batchSize * options.accumulate * world_size()
        window += options.batchSize * options.accumulate * world_size()

        # Gradients are summed over the ranks, so every rank comes to the same verdict.
        norm = nn.utils.clip_grad_norm_(network.parameters(), options.clip_grad or math.inf)
        if torch.isfinite(norm):
            optimizer.step()
            if ema:
                ema.update_parameters(network)
            bad_in_a_row = 0
        else:
            for buffer, old in zip(network.buffers(), before, strict=True):
                buffer.copy_(old)  # the forward pass has put the bad batch into the batch norms' statistics
            bad_steps, bad_in_a_row = bad_steps + 1, bad_in_a_row + 1
            if bad_in_a_row >= options.max_bad_steps:
                raise UserError(
                    f"{bad_in_a_row} non-finite steps in a row at iteration {iteration}; lower --lr "
                    f"(the last good state is in {run_dir}, for --resume)"
                )
        optimizer.zero_grad(set_to_none=True)

        if is_main and iteration % options.print_freq == 0:
            speed = window / (time.perf_counter() - window_start)
            scalars = {"total_loss": loss.item(), **{f"loss{i}": side.item() for i, side in enumerate(losses)}}
            visualizer.scalars({**scalars, "lr": lr, "images_per_second": speed, "skipped_steps": bad_steps}, iteration)
            progress.set_postfix_str(f"loss {loss.item():.3f}, {speed:.1f} img/s, {bad_steps} skipped")
            window, window_start = 0, time.perf_counter()
        if is_main and iteration % options.image_log_freq == 0:
            visualizer.pictures(denormalise(image, options.mean, options.std), label, outputs[0].detach(), iteration)
        stop = any_rank(interruption.signal is not None, device)
        last = iteration == options.iter
        if val_table and not stop and (last or iteration % options.val_freq == 0):
            metrics = validate(ema.module if ema else network, info, val_table, device, precision)
            say(f"iteration {iteration}: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
            if is_main:
                visualizer.scalars({f"val/{name}": value for name, value in metrics.items()}, iteration)
            if metrics["miou"] > best:
                best = metrics["miou"]
                if is_main:
                    scored = replace(info, iteration=iteration, metrics=metrics)
                    save_checkpoint(run_dir / "checkpoints" / "best.pth", ema.module if ema else network, scored)
        if stop or last or iteration % options.save_freq == 0:
            save(iteration)
        if stop:
            break
    progress.close()
    if is_main:
        visualizer.close()
    if interruption.signal and iteration < options.iter:
        say(f"stopped by {interruption.signal.name} at iteration {iteration}; go on with --resume")
        return 128 + interruption.signal
    say(f"trained {options.iter} iterations, {bad_steps} skipped; checkpoints in {run_dir / 'checkpoints'}")
    return 0


def checked_table(folder: str, df_path: str, classes, most: float, say) -> LabelTable:
    table = read_table(df_path, folder, classes, most, progress=rank() == 0)
    say(f"{df_path}: {len(table)} photographs, {len(table.label)} clothes masks")
    for line in table.skipped.lines():
        say(f"  {line}")
    return table


def loss_weights(given: list[float] | None, classes: int) -> Tensor:
    if given is None:
        return torch.tensor([1.0] + [1.5] * (classes - 1))
    if len(given) != classes or min(given) < 0 or max(given) <= 0:
        raise UserError(f"--class_weights needs {classes} numbers, not all zero, none negative; got {given}")
    return torch.tensor(given)


def start_network(options: TrainOptions, run_dir: Path, classes: int, dataset, say) -> tuple[nn.Module, dict]:
    """The network at the start of this run, and the state to resume from (empty for a new run)."""
    network = build_network(options.model, classes)
    latest = run_dir / "latest.pth"
    if options.resume:
        if not latest.is_file():
            raise UserError(f"no run to resume in {run_dir}; leave out --resume, or set --name or --save_dir")
        return network, load_safely(latest)
    if latest.exists():
        raise UserError(f"{run_dir} holds a run already; go on with --resume, or choose another --name")
    if not options.continue_train:
        return network, {}
    if not Path(options.unet_checkpoint).is_file():
        raise UserError(
            f"no weights to start from at {options.unet_checkpoint}; run python setup_model_weights.py, "
            "set --unet_checkpoint, or start from scratch with --no-continue_train"
        )
    copied, left = initialise(network, options.unet_checkpoint)
    say(f"{options.unet_checkpoint}: {copied} tensors copied, {left} of the head left as initialised")
    if not has_statistics(network):
        photos = min(PHOTOS_FOR_STATISTICS, len(dataset))
        say(f"its batch norm was folded: taking statistics from {photos} photographs")
        restore_statistics(network, (dataset[i][0][None] for i in range(photos)))
    return network, {}


def restore(state: dict, network: nn.Module, ema: AveragedModel | None, optimizer, run_dir: Path) -> None:
    try:
        network.load_state_dict(state["network"])
        if ema:
            ema.load_state_dict(state["ema"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random_state"])
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError):
        raise UserError(
            f"{run_dir / 'latest.pth'} does not fit these options; resume with the --model, --class_map, "
            f"--optimizer and --ema_decay in {run_dir / 'training_options.yml'}"
        ) from None


def ema_update(decay: float):
    """EMA step for AveragedModel; the decay grows to its value, so that a short run forgets its start."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count) -> None:
        weight = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, weight)
        else:
            torch._foreach_copy_(averaged, current)

    return update


def learning_rate(options: TrainOptions, done: int) -> float:
    """Learning rate of the step after ``done`` iterations: linear warm-up, then the schedule down to 0."""
    if done < options.warmup_iter:
        return options.lr * (done + 1) / options.warmup_iter
    part = (done - options.warmup_iter) / max(1, options.iter - options.warmup_iter)
    factor = {"constant": 1.0, "cosine": 0.5 * (1 + math.cos(math.pi * part)), "poly": (1 - part) ** 0.9}
    return options.lr * factor[options.schedule]


def validate(network: nn.Module, info: CheckpointInfo, table: LabelTable, device, precision: str) -> dict[str, float]:
    """IoU of each class and their means over a table, split over the ranks."""
    predictor = Predictor(copy.deepcopy(network), info, device, precision)
    matrix = ConfusionMatrix(len(info.class_names))
    for _, _, truth, prediction in predictions(predictor, table, range(rank(), len(table), world_size())):
        matrix.update(truth, prediction)
    matrix.reduce(device)
    ious = {f"iou_{name}": value for name, value in zip(info.class_names, matrix.iou().tolist(), strict=True)}
    return {
        **ious,
        "miou": matrix.mean_iou(),
        "miou_clothes": matrix.mean_clothes_iou(),
        "clothes_iou": matrix.clothes_iou(),
    }


if __name__ == "__main__":
    run_program(main)
