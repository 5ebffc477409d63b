"""The order of training: all photographs in every epoch, sources by their shares, ranks side by side, from anywhere."""

from collections import Counter
from itertools import islice

import pytest

from data.training.sampler import Draw, MixedSampler

ONE, TWO = {"lengths": [10], "shares": [1]}, {"lengths": [7, 3], "shares": [3, 1]}


def draws(
    count: int, start: int = 0, rank: int = 0, world_size: int = 1, shuffle: bool = True, **sources
) -> list[Draw]:
    sampler = MixedSampler(rank=rank, world_size=world_size, shuffle=shuffle, seed=5, start=start, **(sources or TWO))
    return list(islice(sampler, count))


def test_sources_are_drawn_by_their_shares():
    assert Counter(draw.source for draw in draws(8000))[0] / 8000 == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize(("sources", "source", "photos"), [(ONE, 0, 10), (TWO, 0, 7), (TWO, 1, 3)])
def test_every_epoch_is_a_new_order_of_all_photographs(sources, source, photos):
    taken = [draw for draw in draws(200, **sources) if draw.source == source]
    orders = set()
    for epoch in range(len(taken) // photos):
        group = taken[photos * epoch : photos * (epoch + 1)]
        assert sorted(group) == [Draw(source, index, epoch) for index in range(photos)]
        orders.add(tuple(draw.index for draw in group))
    assert len(orders) > 3


@pytest.mark.parametrize("sources", [ONE, TWO])
def test_a_resumed_run_goes_on_where_the_straight_run_was(sources):
    straight = draws(3000, **sources)
    for start in (1, 10, 17, 1023, 1024, 2900):
        assert draws(50, start, **sources) == straight[start : start + 50]


@pytest.mark.parametrize("sources", [ONE, TWO])
def test_ranks_share_the_draws(sources):
    first, second = (draws(500, rank=rank, world_size=2, **sources) for rank in (0, 1))
    both = [draw for pair in zip(first, second, strict=True) for draw in pair]
    assert both == draws(1000, **sources)
    assert draws(10, start=100, rank=1, world_size=2, **sources) == both[201:221:2]


def test_unshuffled_photographs_come_in_the_tables_order():
    assert [draw.index for draw in draws(20, shuffle=False, **ONE)] == [*range(10), *range(10)]
