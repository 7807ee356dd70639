"""Does a work for each of many things, some at the same time, and can be interrupted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event, Lock, Thread
from typing import Generic, TypeVar

from vmkeep.flows.stopping import Stop

T = TypeVar("T")
R = TypeVar("R")


class SideBySide(Generic[T, R]):
    """The works on a list of things, each in the thread that is free first."""

    def __init__(self, things: Sequence[T], work: Callable[[T], R], *, go_on: Callable[[R], bool]) -> None:
        """Name the works.

        :param work: works on one thing. It is called in other threads.
        :param go_on: returns, after a work, whether the works that wait may begin.
        """
        self._things = things
        self._waiting = deque(enumerate(things))
        self._work = work
        self._go_on = go_on
        self._results: dict[int, R] = {}
        self._error: BaseException | None = None
        self._lock = Lock()

    @property
    def results(self) -> list[R]:
        """The results so far, in the order of the things."""
        with self._lock:
            return [self._results[number] for number in sorted(self._results)]

    def run(self, at_once: int, stop: Stop) -> list[R]:
        """Work on all things.

        An interrupt or a time-out of the caller asks to stop, and is raised again when the works that run have ended.

        :param stop: nothing begins any more once somebody has asked.
        :raises: the first error of a work. No work begins after it, and those that run have ended.
        """
        helpers = [_Helper(partial(self._help, stop)) for _ in range(min(at_once, len(self._things)))]
        try:
            for helper in helpers:
                helper.start()
            _await(helpers)
        except BaseException:  # because the time-out of an Airflow task is no Exception
            stop.ask()
            _await(helpers)
            raise
        if self._error is not None:
            raise self._error
        return self.results

    def _help(self, stop: Stop) -> None:
        try:
            while (item := self._next(stop)) is not None:
                number, thing = item
                result = self._work(thing)
                with self._lock:
                    self._results[number] = result
                    if not self._go_on(result):
                        self._waiting.clear()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            with self._lock:
                self._error = self._error or error
                self._waiting.clear()

    def _next(self, stop: Stop) -> tuple[int, T] | None:
        with self._lock:
            return None if stop.asked or not self._waiting else self._waiting.popleft()


class _Helper(Thread):
    """A thread that works. A daemon, because a second interrupt ends the program without waiting for it."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._to_do = work
        self.ended = Event()

    def run(self) -> None:
        """Work, and tell the end."""
        try:
            self._to_do()
        finally:
            self.ended.set()


def _await(helpers: Sequence[_Helper]) -> None:
    """Wait for every thread that was started. One that starts only now finds that it has been stopped.

    An interrupted ``join`` of Python before 3.13 takes a thread that runs for ended, so that each tells its own end.
    """
    for helper in helpers:
        if helper.ident is not None:
            helper.ended.wait()
