"""Keeps to a number of bytes per second, read and written together, for all who share a line.

A call cannot be interrupted, so each begins when the calls before it are paid for, and is paid for after it began: the
first one starts at once, and over any longer time the rate holds. What was not used is not saved up. Small calls
are counted but never wait: a lease that is renewed too late would end its copy.
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
_NAP = 20.0
"""Seconds after which somebody who waits looks whether the limit still holds."""


def _local_time() -> time_of_day:
    return now().astimezone().time()


class Pace:
    """One rate, on one line: every call books the time that its bytes take, and waits for its beginning."""

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

        :param rates: by the local time of this machine.
        :param timetable: shared with whoever shares the rate; ``None``: one of its own.
        """
        self._rates = rates
        self._timetable = OwnTimetable() if timetable is None else timetable
        self._local_time = local_time
        self._monotonic = monotonic
        self._sleep = sleep

    def book(self, count: int, *, since: float | None = None) -> float:
        """Book the time that ``count`` bytes take, and return when it begins.

        :param since: when they began to move, if they have already.
        """
        rate = self._rates.rate_at(self._local_time())
        began = self._monotonic() if since is None else since
        return began if rate is None else self._timetable.book(count / rate, earliest=began)

    def wait(self, until: float) -> None:
        """Sleep until a time that was booked, or until there is no limit any more."""
        while (left := until - self._monotonic()) > 0:
            if self._rates.rate_at(self._local_time()) is None:
                return
            self._sleep(min(left, _NAP))

    def clock(self) -> float:
        """Return the time by which is booked."""
        return self._monotonic()


class ThrottledStore(WrappingStore):
    """Passes every call on to ``inner``, no faster than a pace allows. Mapped files are not counted."""

    def __init__(self, inner: BlobStore, pace: Pace) -> None:
        super().__init__(inner)
        self._pace = pace

    def put(self, key: str, data: Bytes) -> bool:
        """Create a blob, when it is its turn."""
        self._take_turn(len(data))
        return self.inner.put(key, data)

    def replace(self, key: str, data: Bytes) -> None:
        """Count, and pass on at once: leases cannot wait."""
        self._pace.book(len(data))
        self.inner.replace(key, data)

    def get(self, key: str) -> bytes:
        """Return a blob's bytes; waits afterwards, for only then the size is known."""
        began = self._pace.clock()
        data = self.inner.get(key)
        begins = self._pace.book(len(data), since=began)
        if len(data) > _SMALL:
            self._pace.wait(begins)
        return data

    def get_into(self, key: str, start: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from byte ``start`` on, when it is its turn."""
        self._take_turn(len(buffer))
        return self.inner.get_into(key, start, buffer)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes from byte ``start`` on, when it is its turn."""
        self._take_turn(length)
        return self.inner.get_range(key, start, length)

    def _take_turn(self, count: int) -> None:
        begins = self._pace.book(count)
        if count > _SMALL:
            self._pace.wait(begins)
