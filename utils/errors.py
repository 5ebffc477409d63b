"""Errors that a user can fix, and how a program ends with one."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can put right; the message is one line that says what is wrong and what to do."""


def run_program(main: Callable[..., int | None], *arguments) -> None:
    """Run a program's main; end with its return value, or with one line and exit code 1 on a UserError."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a console may lack the letters of a file name
    try:
        sys.exit(main(*arguments))
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
