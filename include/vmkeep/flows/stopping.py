"""Lets one thread stop the complete runs of others, each of which then takes back what it has begun."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vmkeep.errors import CancelledError


class Stop:
    """A request to stop, which any number of runs obey. It cannot be taken back."""

    def __init__(self) -> None:
        # Reentrant, because a signal handler asks in a thread that may hold it already.
        self._lock = threading.RLock()
        self._asked = threading.Event()
        self._cancels: list[Callable[[], None]] = []

    @property
    def asked(self) -> bool:
        """Return whether somebody has asked for it."""
        return self._asked.is_set()

    def ask(self) -> None:
        """Cancel everything that can be cancelled now; the rest ends at its next check."""
        with self._lock:
            self._asked.set()
            cancels = list(self._cancels)
        for cancel in cancels:
            cancel()

    def check(self) -> None:
        """Return unless somebody has asked to stop.

        :raises CancelledError: somebody has.
        """
        if self._asked.is_set():
            raise CancelledError("told to stop")

    def wait(self, seconds: float) -> None:
        """Wait for some seconds.

        :raises CancelledError: somebody has asked to stop before or meanwhile.
        """
        self._asked.wait(seconds)
        self.check()

    @contextmanager
    def cancels(self, cancel: Callable[[], None]) -> Iterator[None]:
        """Have the work of the body cancelled when somebody asks to stop, or at once if somebody has.

        :param cancel: is called in the thread of whoever asks.
        """
        with self._lock:
            self._cancels.append(cancel)
            late = self._asked.is_set()
        if late:
            cancel()
        try:
            yield
        finally:
            with self._lock:
                self._cancels.remove(cancel)
