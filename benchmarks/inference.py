"""How fast each engine predicts here: python -m benchmarks.inference --model u2net --size 768

Each way runs in processes of its own, in turn. "published" is the published script's way, written afresh: fp32, all
seven maps, gradients on. "rembg" is ONNX Runtime as rembg calls it. The others are this project's engines. The floor is
the time that the network's multiplications take at the rate this machine reaches on large matrices.
"""

import os
from dataclasses import dataclass

from options.base_options import BaseOptions, option
from utils.errors import UserError, run_program

WAYS = ("published", "rembg", "torch", "onnxruntime", "openvino")


@dataclass
class InferenceOptions(BaseOptions):
    """How fast each engine predicts on this machine."""

    model: str = option("u2netp", choices=("u2net", "u2netp"))
    size: int = option(288, "height and width of the input", at_least=32)
    rounds: int = option(3, "processes of each way", at_least=1)
    repeats: int = option(3, "predictions in each process", at_least=1)
    picture: str | None = option(None, "also draw the seconds as bars (PNG; needs matplotlib)")
    way: str | None = option(None, "the one way that this process measures", WAYS)
    checkpoint: str | None = option(None, "weights for --way")

    def resolve(self) -> "InferenceOptions":
        super().resolve()
        if self.way and not self.checkpoint:
            raise UserError("--way needs --checkpoint; leave it out to compare all ways")
        return self


if __name__ == "__main__":
    options = InferenceOptions.from_command_line()  # sets how PyTorch's threads wait, before it is imported
    if options.way in ("published", "rembg"):
        os.environ.pop("OMP_WAIT_POLICY")  # these leave it as it is

import tempfile
import timeit
from pathlib import Path

import numpy as np

from benchmarks.harness import compare, draw, print_table, report_call, untrained_weights


def run_way(way: str, checkpoint: Path, size: int, repeats: int) -> None:
    images = np.random.default_rng(0).standard_normal((1, 3, size, size), np.float32)
    if way == "published":
        import torch

        from networks.weights.checkpoint import load_network

        network, _ = load_network(checkpoint)
        batch = torch.from_numpy(images)
        report_call(lambda: network(batch)[0].log_softmax(1).argmax(1), repeats)
    elif way == "rembg":
        from networks.engines.onnx_cache import CachedWeights  # sets nothing that rembg would not

        model = CachedWeights(checkpoint).model()
        import onnxruntime

        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        report_call(lambda: session.run(None, {"image": images}), repeats)
    else:
        from networks.engines.choose import load_engine
        from networks.engines.settings import EngineSettings
        from utils.freed_memory import keep_freed_memory

        engine, _ = load_engine(checkpoint, EngineSettings(way, "cpu"), size, size)
        keep_freed_memory()
        report_call(lambda: engine(images), repeats)


def matrix_rate() -> dict[str, float]:
    """GFLOP/s of a 2048 x 2048 matrix product in each precision that the hardware has: the best of five."""
    import torch

    from utils.devices import resolve_precision

    precisions = {"fp32": torch.float32}
    if resolve_precision("auto", torch.device("cpu")) == "bf16":
        precisions["bf16"] = torch.bfloat16
    rates = {}
    for name, dtype in precisions.items():
        a, b = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
        seconds = timeit.repeat(lambda a=a, b=b: a @ b, number=1, repeat=6)
        rates[name] = 2 * 2048**3 / min(seconds[1:]) / 1e9
    return rates


def gigaflops(model: str, size: int) -> float:
    """Multiplications and additions of the convolutions of one prediction, in GFLOP."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from networks.u2net import build_network

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        build_network(model, 4).eval().fused(torch.empty(1, 3, size, size))
    return counter.get_total_flops() / 1e9


def main(options: InferenceOptions) -> None:
    if options.way:
        run_way(options.way, Path(options.checkpoint), options.size, options.repeats)
        return
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = untrained_weights(options.model, options.size, Path(folder))
        arguments = ["--checkpoint", checkpoint, "--size", options.size, "--repeats", options.repeats]
        results = compare("benchmarks.inference", WAYS, arguments, options.rounds)
    work = gigaflops(options.model, options.size)
    title = f"{options.model}, one image of {options.size}x{options.size}"
    print(f"{title}: {work:.0f} GFLOP")
    print_table(results)
    if options.picture:
        draw(results, title, Path(options.picture))
    for precision, rate in matrix_rate().items():
        floor = work / rate
        print(f"\nmatrix products in {precision}: {rate:.0f} GFLOP/s, floor {floor:.3f} s; share of that rate:")
        for way, measured in results.items():
            print(f"  {way:<32}{100 * floor / measured.seconds:>6.0f} %")


if __name__ == "__main__":
    run_program(main, options)
