"""vmkeep as a plugin of Airflow, which finds it by the entry point ``airflow.plugins``."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from vmkeep_airflow import pools, preload, runnotes, starts, tasknotes, timetables, verdict

_LISTENERS: list[Any] = [runnotes, tasknotes, pools, starts, verdict, preload]
_TIMETABLES: list[Any] = [timetables.WindowTimetable]


class VmkeepPlugin(AirflowPlugin):
    """Makes pools and imports the engine when a scheduler starts. Checks a run at its start, judges it at its end."""

    name = "vmkeep"
    listeners = _LISTENERS
    timetables = _TIMETABLES

    @classmethod
    def on_load(cls, *_args: Any, **_kwargs: Any) -> None:
        """Import the engine in a Celery worker that loads its plugins at its start, before it forks."""
        if preload.in_celery_worker():
            preload.warm_up()
