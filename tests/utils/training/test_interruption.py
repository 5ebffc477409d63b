"""Signals as a request to stop (what becomes of the workers: tests/programs/test_train.py)."""

import contextlib
import multiprocessing
import signal
import warnings

import pytest
import torch

from utils.training.interruption import Interruption, hold_stop_signals, set_up_worker

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
        assert interruption.noted and interruption.on_any_rank(CPU)
        assert (interruption.name, interruption.exit_code, second) == (number.name, 128 + number, [])
        signal.raise_signal(number)
        assert second == [number]


def test_the_handlers_of_before_are_given_back(second):
    with contextlib.suppress(ValueError), Interruption() as interruption:
        raise ValueError
    for number in SIGNALS:
        signal.raise_signal(number)
    assert second == SIGNALS and not interruption.noted


def test_a_terminal_that_closes_is_ignored_where_nohup_says_so(second):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGHUP)
        assert not interruption.noted
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_signals_wait_while_workers_are_started_and_never_reach_those(second, monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda: "spawn")
    worker = multiprocessing.get_context("spawn").Process(target=signal.raise_signal, args=(signal.SIGTERM,))
    with hold_stop_signals():
        worker.start()
        signal.raise_signal(signal.SIGINT)
        assert not second
    worker.join()
    assert (second, worker.exitcode) == ([signal.SIGINT], 0)


def test_a_worker_ignores_signals_and_prints_warnings_as_the_run_does(second, monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    set_up_worker(0)
    for number in SIGNALS:
        signal.raise_signal(number)
    assert not second
    assert warnings.formatwarning("a photo is broken", UserWarning, "file.py", 1) == "warning: a photo is broken\n"
