"""Errors that a user can fix, and how a program ends with one."""

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress


class UserError(Exception):
    """Something the user can put right; the message is one line that says what is wrong and what to do."""


def run_program(main: Callable[..., int | None], *arguments) -> None:
    """Run a program's main and end the process with its return value; after an error, with one line and code 1.

    An error that is not a UserError is a fault of the program and ends it with its traceback, and code 1 too. After
    an error the process ends at once: a normal exit waits for worker processes and for other ranks, which may be
    waiting for this one.
    """
    try:
        sys.exit(main(*arguments))
    except UserError as error:
        message, code = f"error: {error}", 1
    except KeyboardInterrupt:
        message, code = "interrupted", 130
    except Exception:
        message, code = traceback.format_exc(), 1
    with suppress(OSError):  # nobody may be reading any more
        print(message, file=sys.stderr, flush=True)
        sys.stdout.flush()
    os._exit(code)
