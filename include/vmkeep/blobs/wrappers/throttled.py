"""Limits the bytes per second that are read and written together by all stores that share a timetable.

Each call books a time slot that its bytes need at the given rate, and starts when its slot begins. So the first call
starts at once, and over any longer time the rate holds. Unused time is not saved up for later. Small calls book a slot
but never wait, because a lease that is renewed too late would end its copy.

A rate may change while calls wait. They notice it within a nap, and book again by the new rate.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import time as time_of_day

from vmkeep.blobs.store import BlobStore, Bytes
from vmkeep.blobs.wrappers.rates import RateSchedule
from vmkeep.blobs.wrappers.timetables import OwnTimetable, Timetable
from vmkeep.blobs.wrappers.wrapping import WrappingStore
from vmkeep.clock import now

_SMALL = 4096
"""Bytes up to which a call does not wait."""
_NAP = 2.0
"""Seconds after which a waiting call looks whether the limit still holds."""


def _local_time() -> time_of_day:
    return now().astimezone().time()


class Pace:
    """A schedule of rates on one timetable: every call books the time that its bytes take, and waits for its slot."""

    def __init__(
        self,
        rates: RateSchedule,
        timetable: Timetable | None = None,
        *,
        local_time: Callable[[], time_of_day] = _local_time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare.

        :param rates: rates by the local time of this machine.
        :param timetable: the timetable of all stores that share the rate; ``None``: a new one for this object.
        """
        self._plan = (rates, OwnTimetable() if timetable is None else timetable)
        self._local_time = local_time
        self._monotonic = monotonic
        self._sleep = sleep

    def change(self, rates: RateSchedule, timetable: Timetable) -> None:
        """Go by other rates, on another timetable, from now on. Any thread may call it."""
        self._plan = (rates, timetable)

    def book(self, count: int, *, since: float | None = None) -> float:
        """Book the time that ``count`` bytes take; return its beginning.

        :param since: the time when the bytes began to move, if they have moved already.
        """
        rates, timetable = self._plan
        rate = rates.rate_at(self._local_time())
        began = self._monotonic() if since is None else since
        return began if rate is None else timetable.book(count / rate, earliest=began)

    def pay(self, count: int, *, since: float | None = None) -> None:
        """Book the time that ``count`` bytes take, and sleep until it begins, or until there is no limit any more."""
        plan = self._plan
        until = self.book(count, since=since)
        while (left := until - self._monotonic()) > 0:
            if plan is not self._plan:
                plan = self._plan
                until = self.book(count)
                continue
            if plan[0].rate_at(self._local_time()) is None:
                return
            self._sleep(min(left, _NAP))

    def clock(self) -> float:
        """Return the current time on the clock of the timetable, in seconds."""
        return self._monotonic()


class ThrottledStore(WrappingStore):
    """Passes every call on to ``inner``, no faster than a pace allows. Reads of mapped files are not counted."""

    def __init__(self, inner: BlobStore, pace: Pace) -> None:
        super().__init__(inner)
        self._pace = pace

    def put(self, key: str, data: Bytes) -> bool:
        """Create a blob when its slot begins."""
        self._take_turn(len(data))
        return self.inner.put(key, data)

    def replace(self, key: str, data: Bytes) -> None:
        """Create or overwrite a blob. Book a slot but do not wait, because leases cannot wait."""
        self._pace.book(len(data))
        self.inner.replace(key, data)

    def get(self, key: str) -> bytes:
        """Return a blob's bytes. Wait after the call, because only then the size is known."""
        began = self._pace.clock()
        data = self.inner.get(key)
        self._take_turn(len(data), since=began)
        return data

    def get_into(self, key: str, start: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from byte ``start`` on, when its slot begins."""
        self._take_turn(len(buffer))
        return self.inner.get_into(key, start, buffer)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes from byte ``start`` on, when its slot begins."""
        self._take_turn(length)
        return self.inner.get_range(key, start, length)

    def _take_turn(self, count: int, *, since: float | None = None) -> None:
        if count > _SMALL:
            self._pace.pay(count, since=since)
        else:
            self._pace.book(count, since=since)
