"""Set up the process's memory for speed on the CPU."""

import ctypes
import sys


def keep_freed_memory() -> None:
    """Let glibc reuse the large blocks it frees, instead of giving each back to the system.

    A network on the CPU frees and takes the same blocks at every layer, and the system clears every page of a block
    that it gives out again. Worth up to a factor of 2, for a higher peak (docs/speed.md). It changes the whole process,
    so programs call it, not the library; those that predict call it after the weights are loaded, so what loading frees
    goes back. Does nothing without PyTorch, because other engines only take more with it, nor with another C library.
    """
    if "torch" not in sys.modules:
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(-4, 0)  # M_MMAP_MAX of malloc.h: no block of its own
    mallopt(-1, -1)  # M_TRIM_THRESHOLD: never give back
