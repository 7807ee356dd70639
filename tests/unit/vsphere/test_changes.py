"""Changed areas: one answer covers a slice, and whatever does not fit together means a full read."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from vmkeep.errors import ChangesUnknownError, DeadlineError, Recovery, StaleError
from vmkeep.model.extents import Extent, coalesce, total
from vmkeep.model.fullreason import FullReason
from vmkeep.vsphere.changes import ChangeAnswer, check_succession, collect

SECTOR = 512


class Server:
    """A vSphere that knows which sectors changed, and answers for ``reach`` bytes or ``most`` areas at once."""

    def __init__(self, capacity: int, changed: tuple[Extent, ...], reach: int, most: int) -> None:
        self.capacity, self.changed, self.reach, self.most = capacity, changed, reach, most
        self.asked: list[int] = []

    def __call__(self, start: int) -> ChangeAnswer:
        self.asked.append(start)
        stop = min(self.capacity, start + self.reach)
        areas = []
        for extent in self.changed:
            if len(areas) == self.most:
                stop = areas[-1][0] + areas[-1][1]
                break
            low, high = max(start, extent.start), min(stop, extent.stop)
            if low < high:
                areas.append((low, high - low))
        return ChangeAnswer(start=start, length=stop - start, areas=tuple(areas))


@st.composite
def servers(draw):
    sectors = draw(st.integers(1, 400))
    marks = draw(st.lists(st.tuples(st.integers(0, sectors - 1), st.integers(1, 40)), max_size=30))
    changed = coalesce(Extent(at * SECTOR, min(sectors, at + count) * SECTOR) for at, count in marks)
    reach = draw(st.integers(1, sectors)) * SECTOR
    return Server(sectors * SECTOR, changed, reach, draw(st.integers(1, 8)))


@given(servers())
def test_every_changed_byte_is_found_however_little_one_answer_covers(server):
    assert collect(server, server.capacity) == server.changed


@given(servers())
def test_each_question_starts_where_the_last_answer_ended(server):
    collect(server, server.capacity)

    assert server.asked == sorted(set(server.asked))
    assert server.asked[0] == 0


def test_a_disk_larger_than_one_answer_is_asked_for_to_its_end():
    tail = Extent((3 << 40) - SECTOR, 3 << 40)
    server = Server(3 << 40, (Extent(0, SECTOR), tail), reach=2 << 40, most=2000)

    assert collect(server, 3 << 40) == (Extent(0, SECTOR), tail)
    assert len(server.asked) == 2


def test_areas_out_of_order_or_overlapping_are_merged():
    answer = ChangeAnswer(start=0, length=4096, areas=((2048, 1024), (0, 512), (2560, 1024)))

    assert collect(lambda _: answer, 4096) == (Extent(0, 512), Extent(2048, 3584))


def test_areas_grow_to_whole_sectors_and_end_with_the_disk():
    answer = ChangeAnswer(start=0, length=4096, areas=((100, 10), (4000, 65536)))

    found = collect(lambda _: answer, 4096)

    assert found == (Extent(0, 512), Extent(3584, 4096))
    assert total(found) == 1024


def test_no_changes_are_no_extents():
    assert collect(lambda at: ChangeAnswer(start=at, length=1 << 20, areas=()), 1 << 30) == ()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (ChangeAnswer(start=512, length=512, areas=()), "starts at 512"),
        (ChangeAnswer(start=0, length=0, areas=()), "no progress"),
        (ChangeAnswer(start=0, length=-512, areas=()), "no progress"),
        (ChangeAnswer(start=0, length=4096, areas=()), "resized"),
        (ChangeAnswer(start=0, length=1024, areas=((-512, 512),)), "no sense"),
        (ChangeAnswer(start=0, length=1024, areas=((0, -1),)), "no sense"),
    ],
)
def test_an_answer_that_does_not_fit_means_a_full_read(answer, why):
    with pytest.raises(ChangesUnknownError, match=why) as caught:
        collect(lambda _: answer, 1024)

    assert isinstance(caught.value, StaleError)
    assert caught.value.recovery is Recovery.RESTART


def test_a_server_that_crawls_ends_at_the_deadline():
    with pytest.raises(DeadlineError, match="at byte"):
        collect(lambda at: ChangeAnswer(start=at, length=1, areas=()), 1 << 50, timeout=0.05)


@pytest.mark.parametrize(
    ("old", "new", "reason", "why"),
    [
        ("52 aa/7", "52 bb/8", FullReason.TRACKING_RESET, "was reset"),
        ("52 aa/7", "52 aa/6", FullReason.REVERTED, "went back"),
        ("7", "52 aa/8", FullReason.TRACKING_RESET, "cannot be compared"),
        ("52 aa/x", "52 aa/8", FullReason.TRACKING_RESET, "cannot be compared"),
    ],
)
def test_a_broken_history_of_change_ids_means_a_full_read(old, new, reason, why):
    with pytest.raises(ChangesUnknownError, match=why) as caught:
        check_succession(old, new)

    assert caught.value.reason is reason


def test_an_unbroken_history_of_change_ids_is_fine():
    check_succession("52 de c0/7", "52 de c0/7")
    check_succession("52 de c0/9", "52 de c0/10")


numbers = st.integers(-(1 << 63), (1 << 63) - 1)
near = st.integers(-4096, 64 * SECTOR)


@st.composite
def hostile_servers(draw):
    """A server that answers whatever it likes, sometimes what was asked for."""
    true_starts = draw(st.booleans())

    def answer(start: int) -> ChangeAnswer:
        first = start if true_starts else draw(st.one_of(st.just(start), near, numbers))
        areas = draw(st.lists(st.tuples(st.one_of(near, numbers), st.one_of(near, numbers)), max_size=6))
        return ChangeAnswer(start=first, length=draw(st.one_of(near, numbers)), areas=tuple(areas))

    return answer


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(hostile_servers(), st.integers(1, 40))
def test_a_hostile_answer_is_either_refused_or_read_as_whole_sectors_inside_the_disk(ask, sectors):
    capacity = sectors * SECTOR
    asked: list[ChangeAnswer] = []

    def watched(start: int) -> ChangeAnswer:
        asked.append(ask(start))
        return asked[-1]

    try:
        found = collect(watched, capacity)
    except ChangesUnknownError as refused:
        event(f"refused: {refused.reason}")
        return

    assert sum(answer.length for answer in asked) == capacity, "the answers add up to the disk"
    assert [answer.start for answer in asked] == [sum(a.length for a in asked[:at]) for at in range(len(asked))]
    assert all(extent.start % SECTOR == 0 == extent.stop % SECTOR and extent.stop <= capacity for extent in found)
    for start, length in (area for answer in asked for area in answer.areas):
        inside = range(min(start, capacity), min(start + length, capacity))
        assert all(any(e.start <= at < e.stop for e in found) for at in {inside[0], inside[-1]} if inside)


@given(servers(), st.integers(1, 399))
def test_an_answer_that_ends_early_and_claims_to_be_the_last_one_is_asked_on(server, cut):
    """A server that shortens what it covers, but tells so truly, costs only questions."""
    asked = []

    def short(start: int) -> ChangeAnswer:
        asked.append(start)
        whole = server(start)
        length = min(whole.length, cut * SECTOR)
        stop = start + length
        kept = tuple((at, min(size, stop - at)) for at, size in whole.areas if at < stop)
        return ChangeAnswer(start=start, length=length, areas=kept)

    assert collect(short, server.capacity) == server.changed
    assert len(asked) >= -(-server.capacity // (cut * SECTOR)) or server.reach < cut * SECTOR
