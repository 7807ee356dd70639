"""Stops a child: at its caller's word, at its caller's death, or at its own standstill.

The end of stdin is the reliable sign of a dead caller, unless a program that the caller forked still holds the other
end; so the parent's id is looked at too. A child that does not stop by itself within the grace ends at once: its lease
then runs out.
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
from vmkeep.transfer.protocol import Channel, Lines, describe_error
from vmkeep.transfer.renewal import WORD, Renewed

GRACE: Final = 10.0
"""Seconds between the word to stop and the end."""
STANDSTILL: Final = 1800.0
"""Seconds without progress after which a transfer counts as hung; every single wait has a shorter deadline."""
ALIVE_EVERY: Final = 5.0


class Stop:
    """The word to stop, said by any thread or by a signal's handler."""

    def __init__(self) -> None:
        # A plain attribute and no Event: a signal's handler must not take a lock that its own thread may hold.
        self.why: str | None = None
        self.progressed_at = time.monotonic()

    def request(self, why: str) -> None:
        """Ask the transfer to stop; the first reason is kept."""
        self.why = self.why or why

    def check(self) -> None:
        """Raise :class:`CancelledError` once someone has asked."""
        if self.why is not None:
            raise CancelledError(f"the transfer was stopped: {self.why}")


class Watch:
    """A thread that reads stdin, looks at the parent and at the clock."""

    def __init__(
        self,
        stop: Stop,
        channel: Channel,
        *,
        stdin: int,
        parent: int,
        activity: Callable[[], int],
        renewed: Renewed | None = None,
    ) -> None:
        """Begin to watch.

        :param activity: counts calls to the disk that came back, in phases that report nothing else.
        :param renewed: takes new credentials that the parent tells.
        """
        self._stop = stop
        self._renewed = renewed
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
        """Read stdin; ``False`` at its end."""
        data = os.read(self._stdin, 1 << 16)
        self._lines.feed(data)
        if not data:
            self._stop.request("its caller has gone")
        return bool(data)

    def _on_line(self, line: bytes) -> None:
        if line.startswith(WORD) and self._renewed is not None:
            self._renewed.take(line)
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
