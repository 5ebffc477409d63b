"""Errors that a user can fix, and how a program ends with one."""

import os
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress

from utils.once_per_launch import first_to_say


class UserError(Exception):
    """Something the user can put right; the message is one line that says what is wrong and what to do."""


def run_program(main: Callable[..., int | None], *arguments) -> None:
    """Run a program's main and end the process with its return value; after an error, with what ``format_error``
    says of it and code 1.

    After an error the process ends at once: a normal exit waits for worker processes and for other ranks, which may be
    waiting for this one.
    """
    try:
        sys.exit(main(*arguments))
    except KeyboardInterrupt:
        message, code = "interrupted", 130
    except Exception as error:
        message, code = format_error(error), 1
    with suppress(OSError):  # nobody may be reading any more
        if first_to_say(message):
            print(message, file=sys.stderr, flush=True)
        sys.stdout.flush()
    os._exit(code)


def format_error(error: Exception) -> str:
    """One line about a UserError, or a file that the system does not give; another error is the program's own fault,
    and this is its traceback."""
    if isinstance(error, UserError):
        return f"error: {escape_unprintable(error)}"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"error: {escape_unprintable(error.filename)}: {error.strerror}"
    return "".join(traceback.format_exception(error))


def one_line(error: object) -> str:
    """What an error says, or else its kind, as one line."""
    return " ".join(str(error).split()) or type(error).__name__


def configure_output() -> None:
    """Make the process print warnings without source lines, and any text, whatever letters the console has."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {escape_unprintable(message)}\n"
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where a program's output goes into another one's variable
            stream.reconfigure(errors="backslashreplace")


def escape_unprintable(text: object) -> str:
    """Text as one line that can be printed: file names may hold line breaks, and bytes that are not letters."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))
