"""Errors that a user can fix, and how a program ends with one."""

import sys
import warnings
from collections.abc import Callable


class UserError(Exception):
    """Something the user can put right; the message is one line that says what is wrong and what to do."""


def run_program(main: Callable[..., int | None], *arguments) -> None:
    """Run a program's main; end with its return value, or with one line and exit code 1 on a UserError."""
    try:
        sys.exit(main(*arguments))
    except UserError as error:
        sys.exit(f"error: {shown(error)}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def speak_plainly() -> None:
    """Make the process print warnings without source lines, and any text, whatever letters the console has."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {shown(message)}\n"
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")


def shown(text: object) -> str:
    """Text as one line that can be printed: file names may hold line breaks, and bytes that are not letters."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))
