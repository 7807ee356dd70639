"""Runs the threads of one transfer. The first error of any thread stops all, and is raised once.

Nothing here waits for ever, because a thread that waits for work or for room also looks at the stop signal.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

TICK = 0.25
"""Seconds between two looks of the main thread at its workers."""


class Crew:
    """Worker threads, and a main thread that waits for them."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        """Set when all threads have to stop."""
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self._running = 0

    def run(self, jobs: list[Callable[[], None]], tick: Callable[[], None]) -> None:
        """Run each job on its own thread until all have ended. Call ``tick`` several times a second meanwhile.

        :raises: the first error of any job or of ``tick``. Threads may still run then. Release all that they may wait
            for, and then call :meth:`join`.
        """
        if not jobs:
            return
        try:
            self.start(jobs)
            while not self._over.wait(TICK):
                tick()
        except BaseException:
            self.stop.set()
            raise
        self.raise_error()

    def start(self, jobs: list[Callable[[], None]]) -> None:
        """Start a thread for each job, for a main thread that has work of its own. Call :meth:`join` in any case."""
        self._running = len(jobs)
        self._threads = [threading.Thread(target=self._work, args=(job,), name="transfer", daemon=True) for job in jobs]
        for thread in self._threads:
            thread.start()

    def raise_error(self) -> None:
        """Return if no job has failed.

        :raises: the first error of any job.
        """
        if self._error is not None:
            raise self._error

    def join(self) -> None:
        """Stop the threads that still run, and wait for their end."""
        self.stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _work(self, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            with self._lock:
                self._error = self._error or error
            self.stop.set()
            self._over.set()
        finally:
            with self._lock:
                self._running -= 1
                last = not self._running
            if last:
                self._over.set()


class Conveyor(Generic[T]):
    """A short queue between threads of a crew."""

    def __init__(self, room: int, stop: threading.Event) -> None:
        self._room = room
        self._stop = stop
        self._items: deque[T] = deque()
        self._ended = False
        self._changed = threading.Condition()

    def put(self, item: T) -> bool:
        """Add an item when there is room. Return ``False`` if the crew stops instead."""
        with self._changed:
            while len(self._items) >= self._room:
                if self._stop.is_set():
                    return False
                self._changed.wait(TICK)
            self._items.append(item)
            self._changed.notify()
        return not self._stop.is_set()

    def end(self) -> None:
        """Tell that no item follows."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def take(self) -> T | None:
        """Return the next item; ``None``: no item follows, or the crew stops."""
        with self._changed:
            while not self._items:
                if self._ended or self._stop.is_set():
                    return None
                self._changed.wait(TICK)
            if self._stop.is_set():
                return None
            item = self._items.popleft()
            self._changed.notify()
            return item
