"""Requests per second and latency of the server against batch size and workers: python -m benchmarks.serving

Starts a TorchServe for every combination and sends it one photograph over and over; beside it stands what the
predictor alone does, without a server. Each combination is measured several times in turn with the others, and
the median is printed, because other work on the machine comes and goes.
"""

from dataclasses import dataclass

from networks.weights.info import INCLUDED_WEIGHTS
from options.base_options import BaseOptions, option


@dataclass
class ServingOptions(BaseOptions):
    """Requests per second and latency of the server against batch size and workers."""

    checkpoint_path: str = option(str(INCLUDED_WEIGHTS), "weights")
    photo: str = option("input_images/eileen_collins.jpg", "photo that is sent")
    batches: list[int] = option((1, 2, 4, 8), "batch sizes", at_least=1)
    workers: list[int] = option((1, 2), "numbers of workers", at_least=1)
    concurrency: int = option(8, "clients that ask at the same time", at_least=1)
    seconds: float = option(8.0, "of each measurement", at_least=0.1)
    rounds: int = option(3, "times that each combination is measured", at_least=1)


if __name__ == "__main__":
    options = ServingOptions.from_command_line()  # sets how PyTorch's threads wait, before it is imported

import io
import itertools
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import yaml

from benchmarks.harness import read_photo
from benchmarks.local_server import LocalServer
from data.photos.open import open_photo
from deploy.build_archive import archive, contents
from networks.predictor import Predictor
from options.deploy_options import MODEL_CONFIG
from utils.errors import run_program


def predictor_rate(checkpoint: Path, photo: bytes, batch: int, seconds: float) -> float:
    """Photographs per second from encoded photo to label map, in this process with every core."""
    predictor = Predictor.load(checkpoint, "cpu", engine="torch")  # that of the server
    done, start = -batch, time.perf_counter()
    while time.perf_counter() < start + seconds or done < batch:
        for result in predictor.predict([open_photo(io.BytesIO(photo)) for _ in range(batch)]):
            _ = result.labels  # computed when it is asked for
        done += batch
        if done == 0:  # the first pass is for warming up
            start = time.perf_counter()
    return done / (time.perf_counter() - start)


def server_rate(path: Path, photo: bytes, concurrency: int, seconds: float) -> tuple[float, float, float]:
    """(requests per second, median latency, 95th percentile in seconds) of a running archive."""
    with LocalServer(path) as server, ThreadPoolExecutor(concurrency) as pool:
        server.wait_until_ready()

        def ask_until(deadline: float) -> list[float]:
            latencies = []
            while time.perf_counter() < deadline:
                start = time.perf_counter()
                answer = server.predict(photo, "image/jpeg")
                if answer.status != 200:
                    raise RuntimeError(f"the server answered {answer}")
                latencies.append(time.perf_counter() - start)
            return latencies

        list(pool.map(ask_until, [time.perf_counter() + seconds / 4] * concurrency))
        start = time.perf_counter()
        latencies = sum(pool.map(ask_until, [start + seconds] * concurrency), [])
        elapsed = time.perf_counter() - start
    return len(latencies) / elapsed, *np.percentile(latencies, (50, 95))


def build(checkpoint: Path, folder: Path, batch: int, workers: int) -> Path:
    """The archive with the shipped settings but for batch size and workers."""
    files = contents(checkpoint, MODEL_CONFIG)
    settings = yaml.safe_load(files["model-config.yaml"])
    settings |= {"batchSize": batch, "minWorkers": workers, "maxWorkers": workers}
    path = folder / f"{batch}_{workers}.mar"
    path.write_bytes(archive(files | {"model-config.yaml": yaml.safe_dump(settings).encode()}))
    return path


def main(options: ServingOptions) -> None:
    read_photo(Path(options.photo))  # raises on one that the server would refuse
    checkpoint, photo = Path(options.checkpoint_path), Path(options.photo).read_bytes()
    threads = torch.get_num_threads()
    print(f"{options.checkpoint_path}, {options.photo}, {os.cpu_count()} cores, {options.concurrency} clients")

    combinations = list(itertools.product(options.workers, options.batches))
    alone = {batch: [] for batch in options.batches}
    served = {combination: [] for combination in combinations}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for batch in options.batches:
                alone[batch].append(predictor_rate(checkpoint, photo, batch, options.seconds))
            for workers, batch in combinations:
                path = build(checkpoint, Path(folder), batch, workers)
                served[workers, batch].append(server_rate(path, photo, options.concurrency, options.seconds))

    print(f"load average at the end: {os.getloadavg()[0]:.1f}; other work on the machine makes the figures too low")
    print(f"| workers | batch | requests/s | p50 ms | p95 ms | predictor alone, {threads} threads, photos/s |")
    print("|---|---|---|---|---|---|")
    for (workers, batch), figures in served.items():
        rate, p50, p95 = (statistics.median(column) for column in zip(*figures, strict=True))
        beside = statistics.median(alone[batch])
        print(f"| {workers} | {batch} | {rate:.1f} | {p50 * 1e3:.0f} | {p95 * 1e3:.0f} | {beside:.1f} |")


if __name__ == "__main__":
    run_program(main, options)
