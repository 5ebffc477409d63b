"""Work done ahead of its use."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], limit: int
) -> Iterator[tuple[Item, Future[Result]]]:
    """(item, future of function(item)) in order; at most ``limit`` items are under way beyond the one in use.

    When the caller stops early, what has not begun is cancelled.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) > limit:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        for _, future in waiting:
            future.cancel()
