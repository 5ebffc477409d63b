"""The folder of a run belongs to one process, whatever ends it, and to one run."""

import errno
import fcntl
import multiprocessing
import os
import signal
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from utils.errors import UserError
from utils.files import write_atomically
from utils.training import run_folder
from utils.training.run_folder import RunFolder

fork = multiprocessing.get_context("fork")


def claim_and_stay(path: str, claimed) -> None:
    run = RunFolder(path)
    run.claim(resume=False)
    worker = fork.Process(target=time.sleep, args=(600,))  # outlives it, as a loader's worker may for some seconds
    worker.start()
    claimed.put(worker.pid)
    time.sleep(600)


def lock_range(file: int, mode: int, size: int) -> None:
    """As msvcrt.locking: bytes from the position of the file on."""
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, size, os.lseek(file, 0, os.SEEK_CUR))


@pytest.fixture(params=["POSIX", "Windows"])
def process(request, tmp_path, monkeypatch):
    """A process that claimed tmp_path / "run"."""
    if request.param == "Windows":
        monkeypatch.setattr(run_folder, "fcntl", None)
        monkeypatch.setattr(run_folder, "msvcrt", Mock(locking=lock_range), raising=False)
    claimed = fork.Queue()
    process = fork.Process(target=claim_and_stay, args=(str(tmp_path / "run"), claimed))
    process.start()
    worker = claimed.get(timeout=60)
    yield process
    process.kill()
    os.kill(worker, signal.SIGKILL)


def test_a_folder_is_one_process_alone_until_that_is_killed(process, tmp_path):
    run = RunFolder(str(tmp_path / "run"))
    for resume in (False, True):
        with pytest.raises(UserError, match=f"process {process.pid} on .* is training in .*run; wait for it"):
            run.claim(resume)
    process.kill()
    process.join()
    run.claim(resume=False)
    assert [path.name for path in run.path.iterdir()] == ["run.lock"]
    assert (run.path / "run.lock").read_text().startswith(f"process {os.getpid()} on ")
    attempt = fork.Process(target=RunFolder(str(run.path)).claim, args=(False,))
    del run  # as at the end of a training that a Python program called
    attempt.start()
    attempt.join()
    assert attempt.exitcode == 0


def test_the_newest_record_is_of_the_part_that_began_last_also_from_an_earlier_state(tmp_path):
    run = RunFolder(str(tmp_path))
    for iteration, expected in ((0, ""), (50, "_from_00000050"), (30, "_from_00000030"), (0, "")):
        run.record(lambda path: path.write_text("options"), "network", iteration)
        assert run_folder.newest_record(tmp_path).name == f"training_options{expected}.yml"


def test_a_folder_that_somebody_moved_away_gets_the_options_again_with_the_next_state(tmp_path):
    run = RunFolder(str(tmp_path / "run"))
    run.record(lambda path: write_atomically(path, b"options"), "network", 50)
    run.path.rename(tmp_path / "moved")
    run.save(Mock(save=Path.touch))
    assert run.latest.exists() and run_folder.newest_record(run.path).read_bytes() == b"options"


def test_a_run_that_was_saved_is_resumed_or_left_alone(tmp_path):
    (tmp_path / "latest.pth").touch()
    RunFolder(str(tmp_path)).claim(resume=True)
    with pytest.raises(UserError, match="holds a run already; continue it with --resume"):
        RunFolder(str(tmp_path)).claim(resume=False)


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EACCES, pytest.raises(UserError, match="another process is training in")),
        (errno.EIO, pytest.raises(UserError, match="cannot lock .*run.lock: Input/output error")),
        (errno.ENOLCK, pytest.warns(UserWarning, match="file system without locks: start no other run there")),
    ],
)
def test_a_lock_that_fails_is_refused_and_a_file_system_without_locks_is_told(number, told, tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "lock", Mock(side_effect=OSError(number, os.strerror(number))))
    with told:
        RunFolder(str(tmp_path)).claim(resume=False)


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (["logs/other.txt"], "logs"), (["logs/events.1", "logs_2/events.1", "logs_3/notes"], "logs_3"),
        (["logs/events.1", "run/training_options.yml"], "logs"),  # of this run, killed before it saved a state
    ],
)  # fmt: skip
def test_logs_of_another_run_are_left_alone(there, expected, tmp_path):
    for name in there:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert RunFolder(str(tmp_path / "run")).own_logs(f"{tmp_path}/logs/").rstrip("/") == f"{tmp_path}/{expected}"
