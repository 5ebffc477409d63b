"""A batch with a non-finite loss, met in a real run: it leaves no trace in the weights."""

import csv

import numpy as np
import torch
from PIL import Image

import train
from data.rle import encode_rle
from networks.checkpoint import build_network
from options.train_options import TrainOptions


def test_a_skipped_step_leaves_weights_batch_norm_and_average_as_they_were(tmp_path, signals):
    """With loss weight 0 on background, the loss of a photo without clothes is 0/0."""
    rng = np.random.default_rng(0)
    all_of_it = encode_rle(np.ones((64, 64), bool))
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ImageId", "EncodedPixels", "Height", "Width", "ClassId"])
        for name, category in (("bare", 23), ("dressed", 10)):
            Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
            writer.writerow([f"{name}.png", all_of_it, 64, 64, category])

    def run(name: str, iterations: int) -> dict:
        flags = {
            "image_folder": tmp_path, "df_path": tmp_path / "table.csv", "save_dir": tmp_path / name,
            "logs_dir": tmp_path / name / "logs", "model": "u2netp", "fine_width": 64, "fine_height": 64,
            "batchSize": 1, "nThreads": 0, "device": "cpu", "precision": "fp32", "iter": iterations,
            "ema_decay": 0.5, "seed": 3,
        }  # fmt: skip
        command = [part for key, value in flags.items() for part in (f"--{key}", str(value))]
        command += ["--no-continue_train", "--serial_batches", "--class_weights", "0", "1", "1", "1"]
        options = TrainOptions.parse(command)
        assert train.train(options, torch.device("cpu")) == 0
        return torch.load(tmp_path / name / "latest.pth", weights_only=True)

    torch.manual_seed(3)
    start = build_network("u2netp", 4).state_dict()
    after_bad = run("bad", 1)
    assert after_bad["iteration"] == after_bad["samples_seen"] == 1
    assert [key for key in start if not torch.equal(after_bad["network"][key], start[key])] == []
    assert all(torch.equal(after_bad["ema"][f"module.{key}"], start[key]) for key in start)
    assert after_bad["optimizer"]["state"] == {}

    after_good = run("bad and good", 2)["network"]
    assert all(tensor.isfinite().all() for tensor in after_good.values())
    assert not torch.equal(after_good["outconv.weight"], start["outconv.weight"])
    assert not torch.equal(
        after_good["stage1.rebnconvin.bn_s1.running_mean"], start["stage1.rebnconvin.bn_s1.running_mean"]
    )
