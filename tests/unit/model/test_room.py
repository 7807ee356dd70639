"""A datastore without room for what is taken for certain is refused; one that may run full later is warned of."""

from __future__ import annotations

import pytest

from vmkeep.errors import ConflictError
from vmkeep.model.room import StoreNeed, growth, joined, require_room

GIB = 1 << 30


def need(**sizes):
    return StoreNeed(datastore="datastore-1", name="fast", **{"free": 10 * GIB} | sizes)


@pytest.mark.parametrize(
    ("sizes", "refused", "warned"),
    [
        ({"whole": 10 * GIB}, False, False),
        ({"whole": 10 * GIB + 512}, True, True),
        ({"thin": 11 * GIB, "content": 10 * GIB}, False, True),
        ({"thin": 11 * GIB, "content": 10 * GIB + 65536}, True, True),
        ({"whole": 6 * GIB, "thin": 6 * GIB, "content": 5 * GIB}, True, True),
        ({"thin": 8 * GIB, "swap": 4 * GIB}, False, True),
        ({"free": 0}, False, False),
    ],
)
def test_what_is_taken_at_once_is_refused_and_what_may_grow_is_warned_of(sizes, refused, warned):
    told = growth(need(**sizes), "its files can grow to")

    assert bool(told) is warned
    if refused:
        with pytest.raises(ConflictError, match=r"datastore fast has 10\.0 GiB free, and the disks take .*: choose an"):
            require_room(need(**sizes), "the disks take", remedy="choose another")
    else:
        require_room(need(**sizes), "the disks take", remedy="choose another")


def test_several_vms_need_the_sum_and_the_least_free_space_counts():
    both = joined([need(whole=GIB, content=3, thin=9, swap=2), need(free=4 * GIB, whole=GIB, thin=8, swap=1)])

    assert (both.free, both.whole, both.thin, both.content, both.swap) == (4 * GIB, 2 * GIB, 17, 3, 3)
