"""How fast a step of training is: python -m benchmarks.training --model u2netp --size 256 --batch 4

Each way runs in processes of its own, in turn; seconds are of one batch. "published" is the published loop, written
afresh: fp32, Adam, cross-entropy of all seven maps. "train.py" is utils.training.step with the defaults, and the others
add the options in their names.
"""

import os
from dataclasses import dataclass

from options.base_options import BaseOptions, option

# Arguments of our_step by way.
WAYS = {
    "published": {},
    "train.py --precision fp32": {"precision": "fp32"},
    "train.py": {},
    "train.py --accumulate 4": {"accumulate": 4},
    "train.py --channels_last": {"channels_last": True},
    "train.py --compile": {"compiled": True},
    "train.py --channels_last --compile": {"channels_last": True, "compiled": True},
}


@dataclass
class TrainingOptions(BaseOptions):
    """How fast a step of training is on this machine."""

    model: str = option("u2netp", choices=("u2net", "u2netp"))
    size: int = option(256, "height and width of the photos", at_least=32)
    batch: int = option(4, "photos in a batch", at_least=1)
    device: str = option("auto", "as for train.py")
    rounds: int = option(3, "processes of each way", at_least=1)
    repeats: int = option(5, "steps in each process", at_least=1)
    ways: list[str] = option(tuple(WAYS), "what to compare", tuple(WAYS))
    way: str | None = option(None, "the one way that this process measures", tuple(WAYS))


if __name__ == "__main__":
    options = TrainingOptions.from_command_line()  # sets how PyTorch's threads wait, before it is imported
    if options.way == "published":
        os.environ.pop("OMP_WAIT_POLICY")  # the original code leaves it as it is

import torch
import torch.nn.functional as F

from benchmarks.harness import compare, print_table, report_call
from networks.losses import TrainingLoss
from networks.u2net import build_network
from options.train_options import TrainOptions
from utils.devices import describe, resolve_device, resolve_precision
from utils.errors import run_program
from utils.freed_memory import keep_freed_memory
from utils.training.state import build_state
from utils.training.step import train_step

CLASS_WEIGHTS = TrainOptions().loss_weights(4)


def main(options: TrainingOptions) -> None:
    device = resolve_device(options.device)
    if options.way:
        run_way(options.way, options, device)
        return
    print(f"{describe(device)}: {options.model}, {options.batch} x {options.size}x{options.size}, seconds of a batch")
    arguments = ["--model", options.model, "--size", options.size, "--batch", options.batch]
    arguments += ["--device", options.device, "--repeats", options.repeats]
    print_table(compare("benchmarks.training", options.ways, arguments, options.rounds))


def run_way(way: str, options: TrainingOptions, device: torch.device) -> None:
    torch.manual_seed(0)
    network = build_network(options.model, 4).to(device).train()
    images = torch.randn(options.batch, 3, options.size, options.size, device=device)
    label = torch.randint(0, 4, (options.batch, options.size, options.size), device=device)
    make_step = published_step if way == "published" else our_step
    step = make_step(network, images, label, device, **WAYS[way])
    report_call(step, options.repeats, WAYS[way].get("accumulate", 1))


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def published_step(network, images, label, device):
    optimiser = torch.optim.Adam(network.parameters(), lr=0.001)
    weights = torch.tensor(CLASS_WEIGHTS, device=device)

    def step() -> None:
        fused, *sides = network(images)
        losses = [F.cross_entropy(output, label, weights) for output in (fused, *sides)]
        optimiser.zero_grad()
        (1.5 * losses[0] + sum(losses[1:])).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5)
        optimiser.step()
        synchronise(device)

    return step


def our_step(network, images, label, device, precision="auto", accumulate=1, channels_last=False, compiled=False):
    keep_freed_memory()
    precision = resolve_precision(precision, device)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    state = build_state(network, "adam", 0.001, 0.0, ema_decay=0.0, precision=precision)
    forward = torch.compile(network) if compiled else network
    present = torch.ones(len(images), 4, dtype=torch.bool, device=device)
    trust = torch.ones(len(images), device=device)
    batches = [(images, label, trust, present, trust)] * accumulate
    criterion = TrainingLoss(torch.tensor(CLASS_WEIGHTS, device=device))

    def step() -> None:
        train_step(state, forward, batches, criterion, 0.001, 5)
        synchronise(device)

    return step


if __name__ == "__main__":
    run_program(main, options)
