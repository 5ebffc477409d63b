"""Requests per second and latency of the server against batch size and workers: python -m benchmarks.serving

Starts a TorchServe for every combination and sends it one photograph over and over; beside it stands what the
predictor alone does, without a server. Each combination is measured several times in turn with the others, and
the median is printed, because other work on the machine comes and goes.
"""

import argparse
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

from benchmarks.local_server import LocalServer
from data.photos.open import open_photo
from deploy.build_archive import archive, contents
from networks.predictor import Predictor
from networks.weights.info import INCLUDED_WEIGHTS
from options.deploy_options import MODEL_CONFIG


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint_path", type=Path, default=INCLUDED_WEIGHTS)
    parser.add_argument("--photo", type=Path, default=Path("input_images/eileen_collins.jpg"))
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    photo = options.photo.read_bytes()
    threads = torch.get_num_threads()
    print(f"{options.checkpoint_path}, {options.photo}, {os.cpu_count()} cores, {options.concurrency} clients")

    combinations = list(itertools.product(options.workers, options.batches))
    alone = {batch: [] for batch in options.batches}
    served = {combination: [] for combination in combinations}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for batch in options.batches:
                alone[batch].append(predictor_rate(options.checkpoint_path, photo, batch, options.seconds))
            for workers, batch in combinations:
                path = build(options.checkpoint_path, Path(folder), batch, workers)
                served[workers, batch].append(server_rate(path, photo, options.concurrency, options.seconds))

    print(f"load average at the end: {os.getloadavg()[0]:.1f}; other work on the machine makes the figures too low")
    print(f"| workers | batch | requests/s | p50 ms | p95 ms | predictor alone, {threads} threads, photos/s |")
    print("|---|---|---|---|---|---|")
    for (workers, batch), figures in served.items():
        rate, p50, p95 = (statistics.median(column) for column in zip(*figures, strict=True))
        beside = statistics.median(alone[batch])
        print(f"| {workers} | {batch} | {rate:.1f} | {p50 * 1e3:.0f} | {p95 * 1e3:.0f} | {beside:.1f} |")


if __name__ == "__main__":
    main()
