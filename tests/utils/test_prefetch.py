"""Work done ahead of its use."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from utils.prefetch import prefetch


@pytest.mark.parametrize("limit", [1, 3])
def test_results_come_in_order_and_no_more_than_the_limit_is_under_way(limit):
    taken = []
    items = (taken.append(i) or i for i in range(10))
    with ThreadPoolExecutor(1) as pool:
        for item, future in prefetch(pool, str, items, limit):
            assert len(taken) <= item + 1 + limit
            assert future.result() == str(item)
    assert item == 9 and taken == list(range(10))


def test_what_has_not_begun_is_cancelled_when_the_caller_stops():
    go, done = threading.Event(), []

    with ThreadPoolExecutor(1) as pool:
        stream = prefetch(pool, lambda item: go.wait(10) and done.append(item), range(10), limit=5)
        next(stream)
        stream.close()
        go.set()
    assert done == [0]
