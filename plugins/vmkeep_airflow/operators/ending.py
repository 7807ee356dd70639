"""The base class of a backup's steps that do not go on after a moment that the run names."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException

from vmkeep.clock import now
from vmkeep.errors import CancelledError
from vmkeep_airflow.causes import leave_reason
from vmkeep_airflow.operators.base import SiteOperator


class EndingOperator(SiteOperator):
    """A step before the seal. It fails without a retry once the moment has come, and the run cleans up.

    The run itself knows its end, so that it ends also while its window's task, or the scheduler, is away.

    :param stop_at: a time in ISO 8601; empty: the step has no end. Templated.
    """

    template_fields: Sequence[str] = (*SiteOperator.template_fields, "stop_at")

    def __init__(self, *, stop_at: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stop_at = stop_at

    def execute(self, context: Context) -> Any:
        """Do the step, unless the moment has come already. A step that waits for room asks again then at the latest."""
        if (left := self._seconds_left()) is not None and left <= 0:
            if (ti := context.get("ti")) is not None:
                leave_reason(ti, self._told())
            raise AirflowFailException(self._told())
        try:
            return super().execute(context)
        except AirflowRescheduleException as later:
            end = self._end()
            if end is None or later.reschedule_date <= end:
                raise
            at_the_end: Any = AirflowRescheduleException  # its constructor has no types
            raise at_the_end(end) from later

    @contextmanager
    def stopped_in_time(self, cancel: Callable[[], None]) -> Iterator[None]:
        """Cancel the work of the body when the moment comes.

        :param cancel: is called in another thread.
        """
        left = self._seconds_left()
        if left is None:
            yield
            return
        reached = threading.Event()

        def stop() -> None:
            reached.set()
            cancel()

        timer = threading.Timer(max(left, 0), stop)
        timer.start()
        try:
            yield
        except CancelledError as error:
            if reached.is_set():
                raise AirflowFailException(self._told()) from error
            raise
        finally:
            timer.cancel()

    def _seconds_left(self) -> float | None:
        end = self._end()
        return None if end is None else (end - now()).total_seconds()

    def _end(self) -> datetime | None:
        if not self.stop_at:
            return None
        end = datetime.fromisoformat(self.stop_at)
        return end if end.tzinfo else end.replace(tzinfo=UTC)

    def _told(self) -> str:
        return (
            f"stopped, because the run was to end at {self.stop_at}, when its policy's window closed: nothing is "
            "sealed, and the snapshot is removed; the next window backs the VM up, or trigger a new run"
        )
