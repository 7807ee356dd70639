"""Tells Airflow how far a task is while it works, and notices a new rate limit of its repository.

A worker may have no way to the catalog, and no folder in common with the API server. But each task has a way to
Airflow, over which it sends its signs of life. So its progress goes there, too, and so does the question for the limit.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from airflow.sdk import Context
from airflow.sdk.api.client import ServerResponseError
from airflow.sdk.exceptions import AirflowRuntimeError

from vmkeep.errors import VmKeepError
from vmkeep.model.job import Progress, TaskProgress, to_plain

KEY: Final = "progress"
"""The key of a task's state in Airflow under which its progress stands."""
EVERY: Final = 5.0
"""Seconds between two reports of a task."""
_FIRST: Final = 1.0
"""Seconds until the first one, because somebody who has just started a run looks for it."""
_OVER: Final = 30.0
"""Seconds over which the rate is measured."""
_LAST_WAIT: Final = 5.0
"""Seconds that the end of a task waits for a report that is under way."""
log = logging.getLogger(__name__)


def own_state(context: Context) -> Any:
    """Return a task's state in Airflow; ``None``: there is none, or no thread may write it.

    In ``airflow dags test``, task and supervisor are one process, and a thread would get the answers of another.
    """
    from airflow.sdk.execution_time import supervisor, task_runner

    if isinstance(getattr(task_runner, "SUPERVISOR_COMMS", None), supervisor.InProcessSupervisorComms):
        return None
    return context.get("task_state_store")


class LiveTask:
    """Reports the progress of one task every few seconds. Use it as a context manager.

    A thread does it, because Airflow's API may not answer for minutes, and no work must wait for it. A task that is
    done within a second asks for nothing.

    :param store: the task's state in Airflow; ``None``: there is none, so that nothing is reported.
    :param limit_rate: asks for the repository's rate limit as it is now.
    """

    def __init__(self, store: Any, limit_rate: Callable[[], str | None]) -> None:
        self._store = store
        self._ask = limit_rate
        self._limit: str | None = None
        self._to_work: Callable[[str | None], None] | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._last: tuple[str, Progress, bool] | None = None
        self._samples: deque[tuple[float, int]] = deque()
        self._moved_at = 0.0
        self._failing: set[str] = set()
        self._thread: threading.Thread | None = None

    def pass_limit(self, known: str | None, to_work: Callable[[str | None], None]) -> None:
        """Pass each new rate limit on to the work.

        :param known: the limit with which the work began.
        """
        self._limit, self._to_work = known, to_work
        self._begin()

    def take(self, label: str, progress: Progress, *, in_bytes: bool) -> None:
        """Take one event of the work. Never waits."""
        at = time.monotonic()
        with self._lock:
            before = self._last
            if before is None or (before[0], before[1].phase) != (label, progress.phase):
                self._samples.clear()
            if not self._samples or self._samples[-1][1] != progress.bytes_done:
                self._samples.append((at, progress.bytes_done))
                self._moved_at = at
            self._last = (label, progress, in_bytes)
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(_LAST_WAIT)

    def look(self) -> None:
        """Report the progress, and look for a new limit. A failure is logged once, and the work goes on."""
        if (found := self.progress(time.monotonic())) is not None:
            self._try("its progress cannot be reported", lambda: self._store.set(KEY, to_plain(found)))
        if self._to_work is not None:
            self._try("a new rate limit is not noticed now", self._follow_limit)

    def progress(self, at: float) -> TaskProgress | None:
        """Return the progress at a time of the monotonic clock; ``None``: there was no event yet."""
        with self._lock:
            if self._last is None:
                return None
            label, progress, in_bytes = self._last
            while len(self._samples) > 2 and at - self._samples[1][0] > _OVER:
                self._samples.popleft()
            then, done = self._samples[0]
            moved_at = self._moved_at
        return TaskProgress(
            label=label,
            phase=progress.phase,
            done=progress.bytes_done,
            total=progress.bytes_total,
            in_bytes=in_bytes,
            rate=(progress.bytes_done - done) / (at - then) if at > then else 0.0,
            idle_seconds=max(0.0, at - moved_at),
        )

    def _begin(self) -> None:
        if self._thread is None and self._store is not None:
            self._thread = threading.Thread(target=self._run, name="live-progress", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        wait = _FIRST
        while not self._ended.wait(wait):
            self.look()
            wait = EVERY

    def _follow_limit(self) -> None:
        now = self._ask()
        if now != self._limit and self._to_work is not None:
            self._to_work(now)
            self._limit = now
            log.info("the rate limit of the repository is now %s", now or "off")

    def _try(self, trouble: str, work: Callable[[], None]) -> None:
        try:
            work()
        except (AirflowRuntimeError, ServerResponseError, VmKeepError, OSError, EOFError) as error:
            if trouble not in self._failing:
                log.warning("the work goes on, but %s: %s", trouble, error)
            self._failing.add(trouble)
        else:
            self._failing.discard(trouble)
