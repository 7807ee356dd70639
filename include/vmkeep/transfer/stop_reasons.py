"""Stops a child process: at its parent's request, at its parent's death, or when the transfer stands still.

The end of stdin shows that the parent is dead, unless a program that the parent started still holds the other end. So
the parent's process id is checked too. A child that does not stop by itself within the grace ends at once. Then its
lease runs out.
"""

from __future__ import annotations

import faulthandler
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Final

from vmkeep.errors import CancelledError, DeadlineError, VmKeepError
from vmkeep.transfer.new_rate import RATE, NewRate
from vmkeep.transfer.protocol import Channel, Lines, describe_error
from vmkeep.transfer.renewal import WORD, Renewed

GRACE: Final = 10.0
"""Seconds between the request to stop and the end of the process."""
STANDSTILL: Final = 1800.0
"""Seconds without progress after which a transfer counts as hung. Every single wait has a shorter deadline."""
ALIVE_EVERY: Final = 5.0


class Stop:
    """The request to stop, which any thread or signal handler can make."""

    def __init__(self) -> None:
        # A plain attribute, because a signal handler must not take an Event's lock, which its own thread may hold.
        self.why: str | None = None
        self.progressed_at = time.monotonic()

    def request(self, why: str) -> None:
        """Ask the transfer to stop. Only the first reason is kept."""
        self.why = self.why or why

    def check(self) -> None:
        """Return if nobody has asked to stop.

        :raises CancelledError: somebody has.
        """
        if self.why is not None:
            raise CancelledError(f"the transfer was stopped: {self.why}")


class Watch:
    """A thread that reads stdin, and watches the parent and the time without progress."""

    def __init__(
        self,
        stop: Stop,
        channel: Channel,
        *,
        stdin: int,
        parent: int,
        activity: Callable[[], int],
        renewed: Renewed | None = None,
        rate: NewRate,
    ) -> None:
        """Begin to watch.

        :param activity: returns the number of disk calls that returned, for phases that report no other progress.
        :param renewed: takes the new credentials that the parent sends.
        :param rate: takes the new rate limit that the parent sends.
        """
        self._stop = stop
        self._renewed = renewed
        self._rate = rate
        self._lines = Lines(self._on_line)
        self._activity = activity
        self._seen_activity = -1
        self._channel = channel
        self._stdin = stdin
        self._parent = parent
        self._asked_at: float | None = None
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def _run(self) -> None:
        told_at = 0.0
        listening = True
        while True:
            ready, _, _ = select.select([self._stdin] if listening else [], [], [], 0.5)
            if ready:
                listening = self._listen()
            if os.getppid() != self._parent:
                self._stop.request("its caller has died")
            if time.monotonic() - told_at >= ALIVE_EVERY:
                told_at = time.monotonic()
                self._channel.send({"event": "alive"})
            self._judge()

    def _listen(self) -> bool:
        """Read stdin. Return ``False`` at its end."""
        data = os.read(self._stdin, 1 << 16)
        self._lines.feed(data)
        if not data:
            self._stop.request("its caller has gone")
        return bool(data)

    def _on_line(self, line: bytes) -> None:
        if line.startswith(WORD) and self._renewed is not None:
            self._renewed.take(line)
        elif line.startswith(RATE):
            self._rate.take(line)
        elif line:
            self._stop.request("cancelled")

    def _judge(self) -> None:
        now = time.monotonic()
        seen = self._activity()
        if seen != self._seen_activity:
            self._seen_activity = seen
            self._stop.progressed_at = now
        if self._stop.why is not None:
            self._asked_at = self._asked_at or now
            if now - self._asked_at > GRACE:
                self._end(CancelledError(f"the transfer was stopped at once: {self._stop.why}"))
        elif now - self._stop.progressed_at > STANDSTILL:
            faulthandler.dump_traceback()
            self._end(DeadlineError(waiting_for="any progress of the transfer", seconds=STANDSTILL))

    def _end(self, error: VmKeepError) -> None:
        self._channel.send(describe_error(error))
        os._exit(1)
