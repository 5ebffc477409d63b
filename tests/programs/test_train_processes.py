"""train.py in several processes: what ranks write together, and how all of them end when one is stopped or fails."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
import torch

from data.classes import CLOTHES
from data.training.datasets import EvaluationPhotos
from data.training.loader import load_table
from networks.predictor import Predictor
from networks.weights.checkpoint import load_network

from tests.helpers import (  # isort: skip
    SMALL, DataSet, changed_on_rank_1, end, free_port, make_paper_dolls, run_here, run_script, start_script,
    state_of, torchrun, training_flags, wait_for,
)  # fmt: skip
from utils.evaluation.against_truth import validate
from utils.training.interruption import Interruption

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in Linux's /proc")


def test_two_processes_train_one_network_and_rank_0_writes(dolls, tmp_path):
    """Started by the old launcher, which gives each process its --local-rank."""
    flags = training_flags(
        dolls, tmp_path / "run", **SMALL, iter=3, accumulate=2, distributed=True, ema_decay=0.9,
        val_image_folder=dolls.image_folder, val_df_path=dolls.df_path,
    )  # fmt: skip
    result = run_script("-m", "torch.distributed.launch", *torchrun()[2:], "train.py", *flags)
    assert result.returncode == 0, result.stderr
    assert "2 process(es)" in result.stdout
    assert result.stdout.count("trained 3 iterations") == 1
    assert len(list((tmp_path / "run/logs").glob("events*"))) == 1
    state = state_of(tmp_path / "run")
    assert state["samples_seen"] == 3 * 2 * 2 * 2
    assert not any(key.startswith("module.") for key in state["network"])
    # All ranks' photographs are in the validation, and all ranks predict with rank 0's batch norm statistics: the
    # same figure as one process gets over all of them.
    best = tmp_path / "run/checkpoints/best.pth"
    photos = EvaluationPhotos(load_table(str(dolls.df_path), str(dolls.image_folder), CLOTHES))
    metrics = validate(Predictor.load(best, "cpu", "fp32"), photos, torch.device("cpu"), Interruption())
    assert metrics["miou"] == pytest.approx(load_network(best)[1].metrics["miou"], abs=1e-6)


def test_a_run_goes_on_with_other_numbers_of_ranks_and_fewer_photographs_than_ranks(tmp_path):
    data = DataSet(*make_paper_dolls(tmp_path / "data", photos=2))
    val = DataSet(*make_paper_dolls(tmp_path / "val", photos=1))
    options = {
        **SMALL, "ema_decay": 0.9, "side_weight": 0, "val_image_folder": val.image_folder, "val_df_path": val.df_path,
    }  # fmt: skip
    for iterations, processes in ((2, 3), (4, 1)):
        flags = training_flags(data, tmp_path / "run", **options, iter=iterations, resume=iterations > 2)
        result = run_script(*torchrun(processes), "train.py", *flags) if processes > 1 else run_here("train.py", *flags)
        assert result.returncode == 0, result.stderr
        assert state_of(tmp_path / "run")["iteration"] == iterations


def rank_1(process: subprocess.Popen) -> int:
    """Process id of rank 1 below torchrun, which starts one rank after the other."""
    _, pid = sorted(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()))
    return pid


def test_sigterm_saves_one_state_of_all_ranks(dolls, tmp_path):
    flags = training_flags(dolls, tmp_path / "run", **SMALL, iter=10**6, save_freq=2, nThreads=1)
    process = start_script(*torchrun(), "train.py", *flags)
    wait_for(tmp_path / "run/latest.pth", process)
    process.terminate()
    out, err = end(process)
    assert process.returncode != 0
    assert out.count("stopped by") == 1, err
    state = state_of(tmp_path / "run")
    assert f"at iteration {state['iteration']};" in out
    assert state["samples_seen"] == 4 * state["iteration"]
    assert (tmp_path / f"run/checkpoints/itr_{state['iteration']:08d}_u2netp.pth").exists()


def test_a_signal_on_one_rank_ends_the_run_after_the_step(dolls, tmp_path):
    """torchrun kills what has not ended after 30 seconds, and a step may take many."""
    change = (
        "import signal; from utils.training.state import TrainingState as State; advance = State.advance; "
        "State.advance = lambda *a: (advance(*a), a[0].iteration == 3 and signal.raise_signal(signal.SIGTERM))"
    )
    script = changed_on_rank_1("train.py", change, tmp_path)
    result = run_script(*torchrun(), script, *training_flags(dolls, tmp_path / "run", **SMALL, iter=10**6))
    assert "stopped by another process at iteration 3;" in result.stdout, result.stderr
    assert state_of(tmp_path / "run")["iteration"] == 3


def test_a_killed_rank_ends_the_job_and_leaves_a_state_to_resume(dolls, tmp_path):
    flags = training_flags(dolls, tmp_path / "run", **SMALL, iter=10**6, save_freq=2, nThreads=2)
    process = start_script(*torchrun(), "train.py", *flags)
    wait_for(tmp_path / "run/latest.pth", process)
    os.kill(rank_1(process), signal.SIGKILL)
    _, err = end(process)
    assert process.returncode == 1
    assert "exitcode  : -9" in err  # the launcher knows which
    if "rank0" in err:  # it may have been stopped before it noticed
        assert "another process of this run has ended" in err
    assert state_of(tmp_path / "run")["iteration"] >= 2


def test_a_job_that_its_launcher_starts_again_goes_on_to_the_end(dolls, tmp_path):
    flags = training_flags(dolls, tmp_path / "run", **SMALL, iter=20, save_freq=1, resume=True)
    agent = ["--nproc_per_node=2", "--max_restarts=1", "--rdzv_backend=c10d"]
    agent.append(f"--rdzv_endpoint=127.0.0.1:{free_port()}")
    process = start_script("-m", "torch.distributed.run", *agent, "train.py", *flags)
    wait_for(tmp_path / "run/latest.pth", process)
    os.kill(rank_1(process), signal.SIGKILL)
    out, err = end(process)
    assert process.returncode == 0, err
    assert out.count("there is no run to resume") == out.count("trained 20 iterations") == 1
    assert state_of(tmp_path / "run")["samples_seen"] == 4 * 20
    records = [path.name for path in (tmp_path / "run").glob("training_options_from_*.yml")]
    assert len(records) == 1  # it went on where it had been killed


def test_a_mistake_that_all_ranks_see_is_said_once(dolls, tmp_path):
    flags = training_flags(dolls, tmp_path / "run", **SMALL, df_path="no.csv")
    result = run_script(*torchrun(), "train.py", *flags)
    assert result.returncode == 1
    assert result.stderr.count("error: no label table at") == 1, result.stderr


def test_a_users_mistake_on_one_rank_ends_the_job_with_its_own_error(dolls, tmp_path):
    script = changed_on_rank_1("train.py", 'sys.argv += ["--df_path", "only_rank_1_misses_this.csv"]', tmp_path)
    result = run_script(*torchrun(), script, *training_flags(dolls, tmp_path / "run", **SMALL))
    assert result.returncode == 1
    assert "error: no label table at only_rank_1_misses_this.csv" in result.stderr
    assert not (tmp_path / "run/latest.pth").exists()
