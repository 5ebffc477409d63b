"""Signals as a request to stop, and workers that end with their run."""

import contextlib
import multiprocessing
import signal
import time

import pytest
import torch

from utils.training.interruption import Interruption, ignore_in_worker, kill_workers_at_end

CPU = torch.device("cpu")
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
def second():
    """Signals that arrive at the handler of before, which this test's own handler stands for."""
    arrived = []
    before = {s: signal.signal(s, lambda number, _: arrived.append(number)) for s in SIGNALS}
    yield arrived
    for s, handler in before.items():
        signal.signal(s, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_once_and_the_second_acts_as_before(number, second):
    with Interruption() as interruption:
        assert not interruption.on_any_rank(CPU)
        signal.raise_signal(number)
        assert interruption.noted and interruption.on_any_rank(CPU) and interruption.stops_before(3, CPU)
        assert (interruption.name, interruption.exit_code, second) == (number.name, 128 + number, [])
        signal.raise_signal(number)
        assert second == [number]


@pytest.mark.parametrize("error", [None, ValueError])
def test_the_handlers_of_before_are_given_back(error, second):
    with contextlib.suppress(ValueError), Interruption() as interruption:
        if error:
            raise error
    for number in SIGNALS:
        signal.raise_signal(number)
    assert second == SIGNALS
    assert not interruption.noted


def test_a_terminal_that_closes_is_ignored_where_nohup_says_so(second):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGHUP)
        assert not interruption.noted
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_ranks_ask_each_other_now_and_then_only(monkeypatch):
    monkeypatch.setattr("utils.training.interruption.world_size", lambda: 2)
    monkeypatch.setattr("utils.training.interruption.any_rank", lambda *_: True)  # the other rank was signalled
    interruption = Interruption()
    assert [i for i in range(30) if interruption.stops_before(i, CPU)] == [0, 10, 20]
    assert (interruption.name, interruption.exit_code) == ("another process", 128 + signal.SIGTERM)


def stay(ready) -> None:
    ignore_in_worker(0)
    ready.set()
    time.sleep(600)


@pytest.mark.parametrize("error", [None, ValueError])
def test_workers_outlive_signals_and_end_with_the_run(error):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    worker = context.Process(target=stay, args=(ready,), daemon=True)
    watcher = signal.getsignal(signal.SIGCHLD)
    with contextlib.suppress(ValueError), kill_workers_at_end():
        worker.start()
        assert ready.wait(60)
        worker.terminate()  # as a launcher does to the whole process group
        worker.join(0.3)
        assert worker.is_alive()
        if error:
            raise error
    assert worker.exitcode == -signal.SIGKILL
    assert signal.getsignal(signal.SIGCHLD) == watcher
