"""How fast each engine predicts here: python -m benchmarks.inference --model u2net --size 768

Each way runs in processes of its own, in turn. "published" is the published script's way, written afresh: fp32, all
seven maps, gradients on. "rembg" is ONNX Runtime as rembg calls it. The others are this project's engines.
"""

import os
from dataclasses import dataclass

from options.base_options import BaseOptions, option

WAYS = ("published", "rembg", "torch", "onnxruntime", "openvino")


@dataclass
class InferenceOptions(BaseOptions):
    """How fast each engine predicts on this machine."""

    model: str = option("u2netp", choices=("u2net", "u2netp"))
    size: int = option(288, "height and width of the input", at_least=32)
    rounds: int = option(3, "processes of each way", at_least=1)
    repeats: int = option(3, "predictions in each process", at_least=1)
    way: str | None = option(None, "the one way that this process measures", WAYS)
    checkpoint: str | None = option(None, "weights for --way")


if __name__ == "__main__":
    options = InferenceOptions.from_command_line()  # sets how PyTorch's threads wait, before it is imported
    if options.way in ("published", "rembg"):
        os.environ.pop("OMP_WAIT_POLICY")  # these leave it as it is

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.harness import compare, print_table, report_call, untrained_weights


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


def main(options: InferenceOptions) -> None:
    if options.way:
        run_way(options.way, Path(options.checkpoint), options.size, options.repeats)
        return
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = untrained_weights(options.model, options.size, Path(folder))
        arguments = ["--checkpoint", checkpoint, "--size", options.size, "--repeats", options.repeats]
        results = compare("benchmarks.inference", WAYS, arguments, options.rounds)
    print(f"{options.model}, one image of {options.size}x{options.size}")
    print_table(results, "published")


if __name__ == "__main__":
    main(options)
