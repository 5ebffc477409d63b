"""Ctrl-C, SIGTERM and SIGHUP as a request to stop at the next good moment, and workers that end with their run."""

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

import torch

from utils.errors import configure_warnings
from utils.process_group import any_rank


def stop_signals() -> list[signal.Signals]:
    """The signals that ask a run to stop. SIGHUP, of a terminal that is closed, is not one where nohup ignores it."""
    hang_up = getattr(signal, "SIGHUP", None)  # not on Windows
    ignored = hang_up is None or signal.getsignal(hang_up) == signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM] + ([] if ignored else [hang_up])


class Interruption:
    """Inside ``with Interruption() as interruption``, the first of stop_signals is noted.

    A second one acts as usual. The handlers of before are given back at the end.
    """

    def __init__(self):
        self._signal: signal.Signals | None = None
        self._handlers = {}

    def __enter__(self) -> "Interruption":
        self._handlers = {s: signal.signal(s, self._note) for s in stop_signals()}
        return self

    def __exit__(self, *_) -> None:
        self._give_back()

    def _note(self, number: int, frame) -> None:
        self._signal = signal.Signals(number)
        self._give_back()

    def _give_back(self) -> None:
        for s, handler in self._handlers.items():
            signal.signal(s, handler)

    @property
    def noted(self) -> bool:
        """Whether this process was asked to stop."""
        return self._signal is not None

    def on_any_rank(self, device: torch.device) -> bool:
        """Whether to stop; the ranks of a distributed run agree, or they would wait for each other for ever."""
        return any_rank(self.noted, device)

    @property
    def name(self) -> str:
        return self._signal.name if self._signal else "another process"

    @property
    def exit_code(self) -> int:
        """As a shell gives it to a program that a signal ended."""
        return 128 + (self._signal or signal.SIGTERM)


@contextmanager
def hold_stop_signals() -> Iterator[None]:
    """Let stop_signals wait, for this process until the end and for those started inside for ever.

    A worker that is not forked takes seconds to come to ``set_up_worker``, and would end by a Ctrl-C before.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    if multiprocessing.get_start_method() != "fork":  # else the first worker starts it, and it lets signals in again
        resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def set_up_worker(worker_id: int) -> None:
    """For loader workers: signals reach the whole process group, but only the training process decides; and warnings
    are printed as that one prints them."""
    for s in stop_signals():
        signal.signal(s, signal.SIG_IGN)
    configure_warnings()


@contextmanager
def kill_workers_at_end() -> Iterator[None]:
    """Kill the worker processes that an error inside leaves behind.

    They ignore SIGTERM, and Python would send them that at exit and wait for ever.
    """
    try:
        yield
    finally:
        # PyTorch watches for workers that die, and would raise an error in place of the first one.
        watcher = signal.signal(signal.SIGCHLD, signal.SIG_DFL) if hasattr(signal, "SIGCHLD") else None
        for worker in multiprocessing.active_children():
            worker.kill()
            worker.join()
        if watcher is not None:
            signal.signal(signal.SIGCHLD, watcher)
