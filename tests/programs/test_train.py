import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from networks.evaluation import validate
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from data.classes import CLOTHES
from data.imaterialist_table import read_table
from networks.checkpoint import CheckpointInfo, build_network, load_network
from networks.losses import loss_weights
from options.train_options import TrainOptions
from tests.helpers import ROOT, DataSet, assert_one_line_error, run_script
from train import step
from utils.errors import UserError
from utils.interruption import Interruption
from utils.metrics import ConfusionMatrix
from utils.schedules import ema_update, learning_rate


def arguments(data: DataSet, save_dir: Path, **changes) -> list[str]:
    """A small training: U2NETP from scratch at 64x64 on the CPU."""
    options = {
        "image_folder": data.image_folder, "df_path": data.df_path, "save_dir": save_dir, "logs_dir": save_dir / "logs",
        "model": "u2netp", "continue_train": False, "fine_width": 64, "fine_height": 64, "batchSize": 2, "nThreads": 0,
        "device": "cpu", "precision": "fp32", "iter": 6, "print_freq": 2, "image_log_freq": 3, "save_freq": 3,
        **changes,
    }  # fmt: skip
    flags = []
    for name, value in options.items():
        if isinstance(value, bool):
            flags.append(f"--{name}" if value else f"--no-{name}")
        elif value is not None:
            flags += [f"--{name}", str(value)]
    return flags


def train(data: DataSet, save_dir: Path, **changes) -> subprocess.CompletedProcess:
    return run_script("train.py", *arguments(data, save_dir, **changes))


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_network(path)[0].state_dict()


def assert_equal_weights(a: Path, b: Path) -> None:
    x, y = weights(a), weights(b)
    assert [k for k in x if not torch.equal(x[k], y[k])] == []


@pytest.fixture(scope="module")
def run(dolls, tmp_path_factory):
    """One training with validation, inspected by the tests below."""
    save_dir = tmp_path_factory.mktemp("train") / "run"
    result = train(
        dolls, save_dir, iter=30, lr=0.002, val_image_folder=dolls.image_folder, val_df_path=dolls.df_path, val_freq=15,
        save_freq=20, nThreads=1,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    events = EventAccumulator(str(save_dir / "logs"), size_guidance={"images": 0, "scalars": 0})  # 0: keep all
    events.Reload()
    return save_dir, result, events


def test_the_loss_falls(run):
    losses = [event.value for event in run[2].Scalars("total_loss")]
    assert len(losses) == 15
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])


def test_tensorboard_reads_every_scalar_and_the_picture_grid(run):
    _, _, events = run
    names = {"total_loss", "lr", "images_per_second", "val/miou", "val/iou_upper", "val/iou_full", "val/iou_background"}
    assert names | {f"loss{i}" for i in range(7)} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("val/miou")] == [15, 30]
    parts = [events.Scalars(f"loss{i}")[0].value for i in range(7)]
    assert events.Scalars("total_loss")[0].value == pytest.approx(1.5 * parts[0] + sum(parts[1:]), rel=1e-4)
    picture = events.Images("photo_label_prediction")[0]
    assert (picture.step, picture.width, picture.height) == (3, 3 * 64, 2 * 64)


def test_the_curve_of_a_run_is_drawn_from_its_logs(run, tmp_path):
    files = tmp_path / "curve.png", tmp_path / "curve.csv"
    result = run_script(
        "-m", "scripts.training_curve", "--logs_dir", run[0] / "logs", "--picture", files[0], "--table", files[1]
    )
    assert result.returncode == 0, result.stderr
    table = pd.read_csv(files[1], index_col="iteration")
    assert list(table.index) == sorted({*range(2, 31, 2), 15})
    assert table["val/miou"].dropna().index.tolist() == [15, 30]
    assert Image.open(files[0]).width > 500
    nothing = run_script("-m", "scripts.training_curve", "--logs_dir", tmp_path)
    assert_one_line_error(nothing, "no TensorBoard scalars")


def test_options_network_and_checkpoints_are_written(run):
    save_dir, result, _ = run
    assert yaml.safe_load((save_dir / "training_options.yml").read_text())["fine_width"] == 64
    assert "rebnconvin" in (save_dir / "networks.txt").read_text()
    names = sorted(path.name for path in (save_dir / "checkpoints").iterdir())
    assert names == ["best.pth", "itr_00000020_u2netp.pth", "itr_00000030_u2netp.pth"]
    assert "device: cpu" in result.stdout
    assert "iteration 30: iou_background" in result.stdout


def test_checkpoints_describe_themselves_and_serve_infer(run, dolls, tmp_path):
    best = run[0] / "checkpoints" / "best.pth"
    _, info = load_network(best)
    assert (info.class_names, info.height, info.width) == (("background", "upper", "lower", "full"), 64, 64)
    assert info.iteration in (15, 30)
    assert 0 < info.metrics["miou"] <= 1
    result = run_script(
        "infer.py", "--checkpoint_path", best, "--image_dir", dolls.image_folder, "--result_dir", tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert len(list(tmp_path.glob("*.png"))) == 12


def test_a_run_is_never_overwritten(run, dolls):
    assert_one_line_error(train(dolls, run[0]), "holds a run already", "--resume")


RESUMED = {
    "augment": "full", "ema_decay": 0.9, "schedule": "cosine", "warmup_iter": 3, "optimizer": "adamw",
    "smaller_first": "0.5:0.75",  # grows after the interruption
}  # fmt: skip


@pytest.fixture(scope="module")
def straight(dolls, tmp_path_factory) -> Path:
    save_dir = tmp_path_factory.mktemp("straight") / "run"
    result = train(dolls, save_dir, iter=20, save_freq=10, **RESUMED)
    assert result.returncode == 0, result.stderr
    return save_dir


def start(data: DataSet, save_dir: Path, **changes) -> subprocess.Popen:
    command = [sys.executable, "train.py", *arguments(data, save_dir, **changes)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, process: subprocess.Popen) -> None:
    for _ in range(1200):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError(f"{path} never came")


def test_killed_and_resumed_gives_the_straight_runs_weights(dolls, straight, tmp_path):
    process = start(dolls, tmp_path / "run", iter=20, save_freq=10, **RESUMED)
    wait_for(tmp_path / "run" / "latest.pth", process)
    process.kill()
    process.wait()
    resumed = train(dolls, tmp_path / "run", iter=20, save_freq=10, resume=True, **RESUMED)
    assert resumed.returncode == 0, resumed.stderr
    name = Path("checkpoints") / "itr_00000020_u2netp.pth"
    assert_equal_weights(straight / name, tmp_path / "run" / name)
    before = torch.load(straight / "latest.pth", weights_only=True)
    after = torch.load(tmp_path / "run" / "latest.pth", weights_only=True)
    assert before["samples_seen"] == after["samples_seen"] == 40
    for a, b in zip(before["optimizer"]["state"].values(), after["optimizer"]["state"].values(), strict=True):
        assert torch.equal(a["exp_avg"], b["exp_avg"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_runs_save_say_so_and_can_be_resumed(number, dolls, tmp_path):
    process = start(dolls, tmp_path / "run", iter=10_000, save_freq=2, nThreads=1)
    wait_for(tmp_path / "run" / "latest.pth", process)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 128 + number, err
    assert f"stopped by {number.name}" in out
    assert "Traceback" not in err
    reached = torch.load(tmp_path / "run" / "latest.pth", weights_only=True)["iteration"]
    assert f"at iteration {reached};" in out
    resumed = train(dolls, tmp_path / "run", iter=reached + 1, resume=True)
    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / "run" / "checkpoints" / f"itr_{reached + 1:08d}_u2netp.pth").exists()


def test_an_interrupted_validation_stops_at_the_next_photo(dolls, monkeypatch):
    table = read_table(str(dolls.df_path), str(dolls.image_folder), CLOTHES)
    info = CheckpointInfo(CLOTHES.names, 64, 64)
    network, cpu = build_network("u2netp", 4), torch.device("cpu")
    interruption = Interruption().listen()
    os.kill(os.getpid(), signal.SIGTERM)
    counted = []
    monkeypatch.setattr(ConfusionMatrix, "update", lambda matrix, truth, prediction: counted.append(truth.size))
    validate(network, info, table, cpu, "fp32", interruption)
    assert len(counted) == 1


def test_resuming_what_is_not_there_or_of_another_kind_is_one_line(dolls, straight, tmp_path):
    assert_one_line_error(train(dolls, tmp_path / "none", resume=True), "no run to resume")
    assert_one_line_error(train(dolls, straight, resume=True, iter=30), "does not fit", "--ema_decay")


def test_an_absurd_learning_rate_ends_the_run_after_several_bad_steps(dolls, tmp_path):
    result = train(dolls, tmp_path / "run", lr=1e30, iter=50, max_bad_steps=3)
    assert_one_line_error(result, "3 non-finite steps in a row", "lower --lr")


def test_a_single_bad_step_changes_no_weight():
    network = build_network("u2netp", 4)
    optimizer = torch.optim.Adam(network.parameters(), 0.1)
    before = [p.clone() for p in network.parameters()]
    network(torch.full((2, 3, 32, 64), float("nan")))[0].sum().backward()
    assert not step(network, optimizer, 5)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert all(p.grad is None for p in network.parameters())
    network(torch.randn(2, 3, 32, 64))[0].sum().backward()
    assert step(network, optimizer, 5)
    assert not torch.equal(before[0], next(network.parameters()))


def test_missing_data_and_weights_say_what_to_do(dolls, tmp_path):
    assert_one_line_error(run_script("train.py", "--save_dir", tmp_path), "kaggle.com", "--image_folder", "--df_path")
    result = train(dolls, tmp_path / "run", continue_train=True, unet_checkpoint=tmp_path / "none.pth")
    assert_one_line_error(result, "setup_model_weights.py", "--no-continue_train")


def test_a_class_map_drives_head_loss_and_names(dolls, tmp_path):
    (tmp_path / "map.yml").write_text("shoes: [23]\ntops: [1]\n")
    result = train(dolls, tmp_path / "run", iter=2, class_map=tmp_path / "map.yml")
    assert result.returncode == 0, result.stderr
    network, info = load_network(tmp_path / "run" / "checkpoints" / "itr_00000002_u2netp.pth")
    assert info.class_names == ("background", "shoes", "tops")
    assert network.outconv.out_channels == 3


def test_training_starts_from_the_published_onnx_on_real_photographs(ccp_train, saliency_onnx, tmp_path):
    result = train(
        ccp_train, tmp_path / "run", iter=3, max_dataset_size=8, continue_train=True, unet_checkpoint=saliency_onnx,
        fine_width=96, fine_height=96, compile=False, channels_last=True, augment="full",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "784 tensors copied, 14 of the head" in result.stdout
    assert "taking statistics from 8 photographs" in result.stdout


def test_loss_weights_default_to_the_published_ones():
    assert loss_weights(None, 4).tolist() == [1, 1.5, 1.5, 1.5]
    for bad in ([1.0], [1.0, -1.0], [0.0, 0.0], [float("nan"), 1.0]):
        with pytest.raises(UserError, match="--class_weights"):
            loss_weights(bad, 2)


def test_schedules_warm_up_and_come_down():
    assert [learning_rate(i, 10, 1.0, "constant", 4) for i in (0, 3, 4, 9)] == [0.25, 1, 1, 1]
    assert learning_rate(0, 10, 1.0, "cosine", 0) == 1
    assert learning_rate(5, 10, 1.0, "cosine", 0) == pytest.approx(0.5)
    assert learning_rate(5, 10, 1.0, "poly", 0) == pytest.approx(0.5**0.9)
    assert TrainOptions().schedule == "constant"


def test_moving_average_grows_slow_and_copies_counters():
    update = ema_update(0.9)
    averaged = [torch.zeros(1)]
    update(averaged, [torch.ones(1)], 0)
    assert averaged[0].item() == pytest.approx(0.9)
    for count in range(1000, 1050):
        update(averaged, [torch.zeros(1)], count)
    assert averaged[0].item() == pytest.approx(0.9 * 0.9**50, rel=1e-3)
    counters = [torch.tensor(1)]
    update(counters, [torch.tensor(7)], 5)
    assert counters[0].item() == 7


# Several processes


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


LAUNCH = ["-m", "torch.distributed.launch", "--nnodes=1", "--node_rank=0", "--nproc_per_node=2", "--use_env"]
TORCHRUN = ["-m", "torch.distributed.run", "--nproc_per_node=2"]


def launch(launcher: list[str], flags: list[str], **env) -> subprocess.CompletedProcess:
    port = f"--master_port={free_port()}"
    return run_script(*launcher, port, "train.py", *flags, env={**os.environ, "OMP_NUM_THREADS": "1", **env})


@pytest.mark.parametrize("launcher", [LAUNCH, TORCHRUN], ids=["torch.distributed.launch", "torchrun"])
def test_two_processes_train_one_network_and_rank_0_writes(launcher, dolls, tmp_path):
    flags = arguments(
        dolls, tmp_path / "run", iter=3, accumulate=2, distributed=True, ema_decay=0.9,
        val_image_folder=dolls.image_folder, val_df_path=dolls.df_path,
    )  # fmt: skip
    result = launch(launcher, flags)
    assert result.returncode == 0, result.stderr
    assert "2 process(es)" in result.stdout
    assert result.stdout.count("trained 3 iterations") == 1
    assert len(list((tmp_path / "run" / "logs").glob("events*"))) == 1
    state = torch.load(tmp_path / "run" / "latest.pth", weights_only=True)
    assert state["samples_seen"] == 3 * 2 * 2 * 2
    assert not any(key.startswith("module.") for key in state["network"])
    _, info = load_network(tmp_path / "run" / "checkpoints" / "best.pth")
    # All ranks' photographs are in the validation: the same figure as one process gets over all of them.
    network, info = load_network(tmp_path / "run" / "checkpoints" / "best.pth")
    table = read_table(str(dolls.df_path), str(dolls.image_folder), CLOTHES)
    assert validate(network, info, table, torch.device("cpu"), "fp32")["miou"] == pytest.approx(
        info.metrics["miou"], abs=1e-3
    )


def test_a_failing_rank_ends_the_job_with_its_own_error(dolls, tmp_path):
    flags = arguments(dolls, tmp_path / "run", continue_train=True, unet_checkpoint=tmp_path / "none.pth")
    result = launch(TORCHRUN, flags)
    assert result.returncode != 0
    assert "error: no weights to start from" in result.stderr


def test_distributed_without_a_launcher_is_one_line(dolls, tmp_path):
    assert_one_line_error(train(dolls, tmp_path / "run", distributed=True), "torchrun")
