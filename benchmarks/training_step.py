"""What an iteration of training costs beside the network: python -m benchmarks.training_step

Times the parts of utils.training_step.train_step and the whole step in turn, in one process, and prints the fastest of
each and its share of the step: buffer copies, gradient norm and its synchronisation, optimiser, moving average.
"""

import argparse
import copy
import time
from collections.abc import Callable, Iterable

import torch
from torch import nn

from networks.losses import TrainingLoss
from networks.u2net import build_network
from options.train_options import TrainOptions
from utils.devices import describe, resolve_device
from utils.memory import keep_freed_memory
from utils.training.state import build_state
from utils.training.step import KeptBuffers, train_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="u2netp", choices=("u2net", "u2netp"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128], help="height and width")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    keep_freed_memory()
    device = resolve_device(arguments.device)
    print(f"{describe(device)}, {arguments.model}, batch {arguments.batch}")
    for size in arguments.sizes:
        seconds = measure(arguments.model, arguments.batch, size, device, arguments.repeats)
        step = seconds.pop("step")
        print(f"{size}x{size}: {1000 * step:.1f} ms a step")
        for name, part in seconds.items():
            print(f"  {name:40} {1000 * part:7.2f} ms  {100 * part / step:5.2f} %")


def measure(model: str, batch: int, size: int, device: torch.device, repeats: int) -> dict[str, float]:
    """Seconds of the whole step and of its parts beside the network, the fastest of ``repeats`` each."""
    network = build_network(model, 4).to(device).train()
    state = build_state(network, "adamw", 0.001, 0.01, ema_decay=0.998, precision="fp32")
    kept = KeptBuffers(network)
    by_tensor = torch.optim.AdamW(copy.deepcopy(network).parameters(), foreach=False)
    targets = (
        torch.randint(0, 4, (batch, size, size), device=device),
        torch.ones(batch, device=device),
        torch.ones(batch, 4, dtype=torch.bool, device=device),
        torch.zeros(batch, device=device),
    )
    batches = [(torch.randn(batch, 3, size, size, device=device), *targets)]
    loss_of = TrainingLoss(class_weights=torch.tensor(TrainOptions().loss_weights(4), device=device))

    set_gradients(network.parameters())
    set_gradients(by_tensor.param_groups[0]["params"])
    parts: dict[str, Callable[[], object]] = {
        "buffers, a clone of each (before)": lambda: [buffer.clone() for buffer in network.buffers()],
        "buffers, copied by list (now)": kept.keep,
        "gradient norm, clipped and tested": lambda: gradient_norm(network),
        "optimiser (AdamW), by tensor (before)": by_tensor.step,
        "optimiser (AdamW), by list (now)": state.optimizer.step,
        "moving average": lambda: state.ema.update_parameters(network),
    }
    parts["step"] = lambda: train_step(state, network, batches, loss_of, 0.001, 5, kept, "fp32")
    seconds = {name: [] for name in parts}
    for turn in range(1 + repeats):  # in turn: a busy machine then slows all of them alike
        for name, part in parts.items():
            start = time.perf_counter()
            part()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:
                seconds[name].append(time.perf_counter() - start)
            if name == "step":
                set_gradients(network.parameters())
    return {name: min(values) for name, values in seconds.items()}


def set_gradients(parameters: Iterable[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)


def gradient_norm(network: nn.Module) -> bool:
    return bool(torch.isfinite(nn.utils.clip_grad_norm_(network.parameters(), 5)))


if __name__ == "__main__":
    main()
