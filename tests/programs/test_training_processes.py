"""Signals and failures where a training run is several processes: loader workers, ranks, a launcher."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.helpers import ROOT, DataSet

# Rank 1 alone is given a label table that does not exist; its own error must end the job.
RANK_1_FAILS = """
import os, sys
sys.path.insert(0, os.getcwd())
import train
from utils.errors import run_program
if os.environ["RANK"] == "1":
    sys.argv += ["--df_path", "only_rank_1_misses_this.csv"]
run_program(train.main)
"""


def flags(data: DataSet, save_dir: Path, *more: object) -> list[str]:
    """A training that would take days."""
    given = [
        "--image_folder", data.image_folder, "--df_path", data.df_path, "--save_dir", save_dir, "--logs_dir",
        save_dir / "logs", "--model", "u2netp", "--no-continue_train", "--fine_width", 64, "--fine_height", 64,
        "--device", "cpu", "--precision", "fp32", "--iter", 1_000_000, "--save_freq", 2, *more,
    ]  # fmt: skip
    return [str(flag) for flag in given]


def start(*command: object) -> subprocess.Popen:
    """Start ``python <command>`` as the leader of a process group of its own, as a terminal does."""
    return subprocess.Popen(
        [sys.executable, *map(str, command)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def torchrun(*command: object) -> subprocess.Popen:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    return start("-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port}", *command)


def wait_for(path: Path, process: subprocess.Popen) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def end(process: subprocess.Popen) -> tuple[str, str]:
    """Output of a process that ends by itself; whatever happens, none of its group is left."""
    try:
        return process.communicate(timeout=240)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def test_ctrl_c_in_a_terminal_reaches_the_workers_too_and_still_saves(dolls, tmp_path):
    process = start("train.py", *flags(dolls, tmp_path / "run", "--nThreads", 2))
    wait_for(tmp_path / "run" / "latest.pth", process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = end(process)
    assert process.returncode == 130, err
    assert "stopped by SIGINT" in out
    assert "Traceback" not in err
    reached = torch.load(tmp_path / "run" / "latest.pth", weights_only=True)["iteration"]
    assert f"at iteration {reached};" in out


def test_sigterm_to_the_launcher_saves_one_state_of_all_ranks(dolls, tmp_path):
    process = torchrun("train.py", *flags(dolls, tmp_path / "run", "--nThreads", 0))
    wait_for(tmp_path / "run" / "latest.pth", process)
    process.send_signal(signal.SIGTERM)
    out, err = end(process)
    assert process.returncode != 0
    assert out.count("stopped by SIGTERM") == 1, err
    state = torch.load(tmp_path / "run" / "latest.pth", weights_only=True)
    assert f"at iteration {state['iteration']};" in out
    assert state["samples_seen"] == 4 * state["iteration"]
    assert (tmp_path / "run" / "checkpoints" / f"itr_{state['iteration']:08d}_u2netp.pth").exists()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the ranks in Linux's /proc")
def test_a_signal_to_one_rank_stops_all_of_them_at_the_same_iteration(dolls, tmp_path):
    process = torchrun("train.py", *flags(dolls, tmp_path / "run", "--nThreads", 0))
    wait_for(tmp_path / "run" / "latest.pth", process)
    children = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
    (rank_1,) = (pid for pid in children if b"\0RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes())
    os.kill(rank_1, signal.SIGTERM)
    out, err = end(process)
    assert process.returncode != 0
    assert "stopped by" in out, err
    state = torch.load(tmp_path / "run" / "latest.pth", weights_only=True)
    assert f"at iteration {state['iteration']};" in out
    assert state["samples_seen"] == 4 * state["iteration"]


def test_one_failing_rank_ends_the_whole_job_with_its_own_error(dolls, tmp_path):
    (tmp_path / "rank_1_fails.py").write_text(RANK_1_FAILS)
    process = torchrun(tmp_path / "rank_1_fails.py", *flags(dolls, tmp_path / "run", "--nThreads", 0))
    _, err = end(process)
    assert process.returncode not in (0, -signal.SIGKILL), err
    assert "error: no label table at only_rank_1_misses_this.csv" in err
    assert not (tmp_path / "run" / "latest.pth").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_once_and_the_second_acts_as_before(number):
    """In this process: the first is a request, the second finds the handler of before."""
    from utils.interruption import Interruption

    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    second = []
    try:
        signal.signal(number, lambda *_: second.append(number))
        interruption = Interruption().listen()
        assert not interruption.on_any_rank(torch.device("cpu"))
        signal.raise_signal(number)
        assert interruption.on_any_rank(torch.device("cpu"))
        assert (interruption.name, interruption.exit_code, second) == (number.name, 128 + number, [])
        signal.raise_signal(number)
        assert second == [number]
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
