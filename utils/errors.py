"""Errors that a user can fix, and how a program ends with one."""

import hashlib
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

TIME_TO_SPEAK = 1.0  # seconds, for the first process: torchrun ends it when one that says nothing has ended


class UserError(Exception):
    """Something the user can put right; the message is one line that says what is wrong and what to do."""


def run_program(main: Callable[..., int | None], *arguments) -> None:
    """Run a program's main and end the process with its return value; after an error, with what ``format_error``
    says of it and code 1.

    After an error the process ends at once: a normal exit waits for worker processes and for other ranks, which may be
    waiting for this one.
    """
    _change_interrupt(signal.SIG_DFL, signal.default_int_handler)
    try:
        code = main(*arguments)
        _change_interrupt(signal.default_int_handler, signal.SIG_DFL)  # threads and modules are only ended from here on
        sys.exit(code)
    except KeyboardInterrupt:
        message, code = "interrupted", 130
    except Exception as error:
        message, code = format_error(error), 1
    if first_to_say(message):
        print(message, file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(code)


def format_error(error: Exception) -> str:
    """One line about a UserError, a file or a place for one that the system does not give, or a package that is not
    installed; another error is the program's own fault, and this is its traceback."""
    if isinstance(error, UserError):
        return f"error: {escape_unprintable(error)}"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"error: {escape_unprintable(error.filename)}: {error.strerror}"
    if isinstance(error, FileNotFoundError) and "temporary directory" in str(error):  # as in a read-only container
        return f"error: {error.strerror}; set TMPDIR to a folder that can be written"
    absent = isinstance(error, ModuleNotFoundError) and error.name
    # A part of a package that is there, or of Python itself, is nothing that pip would mend.
    if absent and "." not in absent and absent not in sys.stdlib_module_names:
        return (
            f"error: {absent} is not installed; run: pip install -r requirements.txt "
            "(requirements-dev.txt for scripts/ and benchmarks/)"
        )
    return "".join(traceback.format_exception(error))


def one_line(error: object) -> str:
    """What an error says, or else its kind, as one line."""
    return " ".join(str(error).split()) or type(error).__name__


def first_to_say(text: str) -> bool:
    """Whether no other process that the same torchrun started on this machine has asked this of the same text.

    Where another one has, it returns after that one has had time to speak. True where no torchrun started this
    process. torchrun gives each process a folder, for the time of the run, inside one that they share.
    """
    own_file = Path(os.environ.get("TORCHELASTIC_ERROR_FILE", ""))  # FOLDER/attempt_N/LOCAL_RANK/error.json
    if own_file.name != "error.json":
        return True
    mark = own_file.parents[1] / f"said_{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:16]}"
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        time.sleep(TIME_TO_SPEAK)
        return False
    except OSError:  # nothing that can be shared
        pass
    return True


def configure_process() -> None:
    """Set up the process of a program, before it imports what takes seconds.

    It prints warnings without source lines, and any text, whatever letters the console has. A console that is closed or
    goes away takes nothing from the results. Until ``run_program``, Ctrl-C ends the process without a word: modules
    that it interrupts would show a traceback.
    """
    configure_warnings()
    for number in range(3):  # or a result that is opened next would get the number of the closed console
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout, sys.stderr = Console(sys.stdout), Console(sys.stderr)
    _change_interrupt(signal.default_int_handler, signal.SIG_DFL)


def configure_warnings() -> None:
    """Print warnings without source lines, in this process."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {escape_unprintable(message)}\n"


def _change_interrupt(before, after) -> None:
    """Treat Ctrl-C in another way, unless the parent process has it ignored."""
    if signal.getsignal(signal.SIGINT) is before:
        signal.signal(signal.SIGINT, after)


class Console:
    """Standard output or error; what nobody takes, because it is closed, gone or full, is dropped."""

    def __init__(self, stream: TextIO | None):
        self._stream = stream or open(os.devnull, "w")  # noqa: PTH123, SIM115
        if hasattr(self._stream, "reconfigure"):  # not where a program's output goes into another one's variable
            self._stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str):
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def escape_unprintable(text: object) -> str:
    """Text as one line that can be printed: file names may hold line breaks, and bytes that are not letters."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))
