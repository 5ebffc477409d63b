"""Ctrl-C and SIGTERM as a request to stop at the next good moment."""

import signal


class Interruption:
    """After ``listen``, the first SIGINT or SIGTERM sets ``signal``; a second one acts as usual."""

    def __init__(self):
        self.signal: signal.Signals | None = None

    def listen(self) -> "Interruption":
        self._previous = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _note(self, number: int, frame) -> None:
        self.signal = signal.Signals(number)
        for s, handler in self._previous.items():
            signal.signal(s, handler)


def ignore_in_worker(worker_id: int) -> None:
    """For loader workers: Ctrl-C reaches the whole process group, but only the training process decides."""
    for s in (signal.SIGINT, signal.SIGTERM):
        signal.signal(s, signal.SIG_IGN)
