"""The options of each program; every default is visible there, and every option is on the command line.

Programs import this package first, so Ctrl-C shows no traceback from here on.
"""

import sys


def _report(kind, error, trace) -> None:
    """An unhandled error, as Python reports it, but for Ctrl-C."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _report
