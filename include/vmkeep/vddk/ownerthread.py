"""A thread that makes calls of the library one after the other.

VixDiskLib demands all Open and Close calls of a process on one thread, and never two calls at once on a handle. So one
owner thread opens and closes all disks, and another one moves the data of each handle. Every wait for an owner has a
deadline, because a C call cannot be interrupted. A thread that is stuck is left behind, and the process has to end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

from vmkeep.errors import DeadlineError

T = TypeVar("T")


class OwnerCall(Generic[T]):
    """A call that waits for the owner, or was made by it."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._done = threading.Event()
        self._result: T
        self._error: BaseException | None = None

    def run(self) -> None:
        """Make the call, and keep its result or error."""
        try:
            self._result = self._call()
        except BaseException as error:  # noqa: BLE001 - handed to the waiting thread, which raises it
            self._error = error
        self._done.set()

    def wait(self, *, what: str, patience: float) -> T:
        """Return the call's result or raise its error.

        :param what: the call in words, for the error.
        :param patience: seconds.
        :raises DeadlineError: the call did not return in time.
        """
        if not self._done.wait(patience):
            raise DeadlineError(waiting_for=what, seconds=patience)
        if self._error is not None:
            raise self._error
        return self._result


class OwnerThread:
    """A thread with a queue of calls."""

    def __init__(self, name: str) -> None:
        self._tasks: SimpleQueue[OwnerCall[object] | None] = SimpleQueue()
        # A daemon, because a call that never returns must not keep the process alive.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def post(self, call: Callable[[], T]) -> OwnerCall[T]:
        """Queue a call."""
        task = OwnerCall(call)
        self._tasks.put(task)  # type: ignore[arg-type]  # the queue forgets the result's type, the task keeps it
        return task

    def run(self, call: Callable[[], T], *, what: str, patience: float) -> T:
        """Queue a call and wait for it."""
        return self.post(call).wait(what=what, patience=patience)

    def close(self, *, patience: float) -> None:
        """End the thread."""
        self._tasks.put(None)
        self._thread.join(patience)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task.run()
