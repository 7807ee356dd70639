"""Tracks requests in flight, and has the one callback by which the library completes them.

The callback may run on the calling thread before the call has returned, or on a thread of the library, in any order. So
a request is registered before its call, and the callback takes no lock that is held during a call.
"""

from __future__ import annotations

import itertools
import threading
import time
from typing import Final

from vmkeep.vddk.structures import CompletionFunction

_pending: dict[int, PendingCall] = {}
"""Requests by number. Numbers begin with 1, because ctypes turns a ``void *`` of 0 into ``None``."""
_refused: list[PendingCall] = []
_numbers = itertools.count(1)


class PendingCall:
    """An asynchronous call, from shortly before it is made until its callback."""

    def __init__(self, group: object, memory: object) -> None:
        self.group = group
        """The reader or target whose requests are awaited together."""
        self.memory = memory
        """The buffer that the library reads or fills. It is kept alive as long as the library may use it."""
        self.number = next(_numbers)
        self.started = time.monotonic()
        _pending[self.number] = self

    def finish(self, error: int) -> None:
        """Take the result. Any thread may call it."""
        raise NotImplementedError

    def settle(self, error: int) -> None:
        """Finish a request that was not sent to the library, or was completed at once."""
        _pending.pop(self.number, None)
        self.finish(error)

    def refuse(self) -> None:
        """Unregister a request that was not accepted. Keep its memory, because a callback might still come."""
        _pending.pop(self.number, None)
        _refused.append(self)


class Latch(PendingCall):
    """A request that one thread waits for."""

    def __init__(self, group: object, memory: object) -> None:
        self.error: int = 0
        self._done = threading.Event()
        super().__init__(group, memory)

    def finish(self, error: int) -> None:
        """Wake the waiting thread."""
        self.error = error
        self._done.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the callback. Return whether it came in time."""
        return self._done.wait(seconds)


def in_flight(group: object) -> list[PendingCall]:
    """Return the group's requests that have not been completed, oldest first."""
    return [request for request in list(_pending.values()) if request.group is group]


def await_all(group: object, seconds: float) -> bool:
    """Wait until no request of the group is in flight. Return whether that was reached in time."""
    until = time.monotonic() + seconds
    while in_flight(group):
        if time.monotonic() >= until:
            return False
        time.sleep(0.002)
    return True


def _completed(number: int | None, error: int) -> None:
    request = _pending.pop(number or 0, None)
    if request is not None:
        request.finish(error)


COMPLETION: Final = CompletionFunction(_completed)
"""The callback for C. It lives as long as the module, so that a late call finds it."""
