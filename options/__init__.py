"""The options of each program; every default is visible there, and every option is on the command line.

Programs import this package first, so Ctrl-C, missing packages and missing files show no traceback from here on.
"""

import sys

from utils.errors import first_to_say, format_error


def _report(kind, error, trace) -> None:
    """An unhandled error, as Python reports it, but for Ctrl-C and what ``format_error`` says in one line."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    elif issubclass(kind, ModuleNotFoundError | FileNotFoundError):
        if first_to_say(message := format_error(error)):
            print(message, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _report
