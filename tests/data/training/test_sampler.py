"""The order of training: all photographs in every epoch, shared out over ranks, taken up anywhere."""

from itertools import islice

from data.training.sampler import Draw, EndlessSampler

PHOTOS = range(10)


def take(count: int, rank: int = 0, world_size: int = 1, start: int = 0, shuffle: bool = True) -> list[Draw]:
    return list(islice(EndlessSampler(PHOTOS, rank, world_size, shuffle, seed=0, start=start), count))


def test_every_epoch_is_a_new_order_of_all_photos():
    draws = take(30)
    epochs = [draws[first : first + 10] for first in (0, 10, 20)]
    for number, epoch in enumerate(epochs):
        assert sorted(epoch) == [Draw(0, index, number) for index in PHOTOS]
    assert len({tuple(draw.index for draw in epoch) for epoch in epochs}) == 3


def test_a_resumed_run_goes_on_where_the_straight_run_was():
    assert take(13, start=17) == take(30)[17:]
    assert take(10, start=20) == take(30)[20:]
    assert take(5, rank=1, world_size=2, start=7) == take(12, rank=1, world_size=2)[7:]


def test_ranks_share_an_epoch():
    first, second = take(10, 0, 2), take(10, 1, 2)
    for epoch in range(2):
        both = first[5 * epoch : 5 * epoch + 5] + second[5 * epoch : 5 * epoch + 5]
        assert sorted(both) == [Draw(0, index, epoch) for index in PHOTOS]


def test_unshuffled_photos_come_in_the_tables_order():
    assert [draw.index for draw in take(20, shuffle=False)] == [*PHOTOS, *PHOTOS]
