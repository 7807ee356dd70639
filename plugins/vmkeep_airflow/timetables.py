"""The timetable of a policy's window: a run for each opening, and after an outage one for the last that was missed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pendulum
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable

from vmkeep.clock import now
from vmkeep.policy import Opening, Window


class WindowTimetable(Timetable):
    """Start a run at each opening of a window."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self.description = str(window)

    @property
    def summary(self) -> str:
        """The window, as Airflow's pages show it."""
        return str(self._window)

    def serialize(self) -> dict[str, Any]:
        """Return the window as plain data."""
        return self._window.to_plain()

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> WindowTimetable:
        """Return the timetable of a window that plain data describe."""
        return cls(Window.from_plain(data))

    def infer_manual_data_interval(self, *, run_after: pendulum.DateTime) -> DataInterval:
        """Return the moment at which a person asks for a run."""
        return DataInterval.exact(run_after)

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the next run. Of several openings that nobody was there for, it is the last."""
        moment = now()
        last = None if last_automated_data_interval is None else last_automated_data_interval.start
        opening = self._next(last, moment)
        if opening is None or (restriction.latest is not None and opening.opens_at > restriction.latest):
            return None
        return DagRunInfo.exact(pendulum.instance(opening.opens_at))

    def _next(self, last: datetime | None, moment: datetime) -> Opening | None:
        """Return the opening after the last run. A DAG that never ran begins with the window that is open."""
        if last is None:
            return self._window.window_at(moment) or self._window.next_opening(moment)
        passed = self._window.last_opening(moment)
        return passed if passed is not None and passed.opens_at > last else self._window.next_opening(last)
