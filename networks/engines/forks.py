"""Engines do not survive a fork: the threads that they wait for exist in the parent alone."""

import os
from functools import cache

from utils.errors import UserError


@cache
def _first_process() -> int:
    return os.getpid()


def check_not_forked(single_thread: bool = False) -> None:
    """Raise UserError in a process that was forked from one that had called this before, in place of a hang.

    single_thread: whether the engine has no threads to wait for.
    """
    if _first_process() != os.getpid() and not single_thread:
        raise UserError(
            "this process was forked from one that had loaded a network, and would wait for its threads for ever; "
            "start it with multiprocessing's method 'spawn', or load networks in the forked processes alone"
        )
