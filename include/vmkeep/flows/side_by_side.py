"""Does a work for each of many things, some at the same time, and can be interrupted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from threading import Event, Lock, Thread
from typing import Generic, TypeVar

from vmkeep.flows.stopping import Stop

T = TypeVar("T")
R = TypeVar("R")


class SideBySide(Generic[T, R]):
    """The works on a list of things, each in the thread that is free first."""

    def __init__(self, things: Sequence[T], work: Callable[[T], R], *, go_on: Callable[[R], bool]) -> None:
        """Name the works.

        :param work: works on one thing. It is called in other threads, and raises only if it was stopped.
        :param go_on: returns, after a work, whether the works that wait may begin.
        """
        self._things = things
        self._waiting = deque(enumerate(things))
        self._work = work
        self._go_on = go_on
        self._results: dict[int, R] = {}
        self._lock = Lock()

    @property
    def results(self) -> list[R]:
        """The results so far, in the order of the things."""
        with self._lock:
            return [self._results[number] for number in sorted(self._results)]

    def run(self, at_once: int, stop: Stop) -> list[R]:
        """Work on all things. An interrupt asks to stop, and waits until the works that run have ended.

        :param stop: nothing begins any more once somebody has asked.
        """
        # Daemons, because a second interrupt ends the program without waiting for them.
        ends = [Event() for _ in range(min(at_once, len(self._things)))]
        for end in ends:
            Thread(target=self._help, args=(stop, end), daemon=True).start()
        try:
            _await(ends)
        except KeyboardInterrupt:
            stop.ask()
            _await(ends)
            raise
        return self.results

    def _help(self, stop: Stop, end: Event) -> None:
        try:
            while (item := self._next(stop)) is not None:
                number, thing = item
                result = self._work(thing)
                with self._lock:
                    self._results[number] = result
                    if not self._go_on(result):
                        self._waiting.clear()
        finally:
            end.set()

    def _next(self, stop: Stop) -> tuple[int, T] | None:
        with self._lock:
            return None if stop.asked or not self._waiting else self._waiting.popleft()


def _await(ends: Sequence[Event]) -> None:
    """Wait for every thread. An interrupted ``join`` of Python before 3.13 takes a thread that runs for ended."""
    for end in ends:
        end.wait()
