"""vmkeep as a plugin of Airflow, which finds it by the entry point ``airflow.plugins``."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from vmkeep_airflow import pools, preload, runnotes, starts, tasknotes, timetables, upkeepnotes, verdict
from vmkeep_airflow.web import EXTERNAL_VIEWS, FASTAPI_APPS, ROOT_MIDDLEWARES

_LISTENERS: list[Any] = [runnotes, tasknotes, upkeepnotes, pools, starts, verdict, preload]
_TIMETABLES: list[Any] = [timetables.WindowTimetable]


class VmkeepPlugin(AirflowPlugin):
    """Makes pools and imports the engine when a scheduler starts. Checks a run at its start, judges it at its end.

    Adds the web view to the API server, and keeps those from overwriting there who may not.
    """

    name = "vmkeep"
    listeners = _LISTENERS
    timetables = _TIMETABLES
    fastapi_apps = FASTAPI_APPS
    fastapi_root_middlewares = ROOT_MIDDLEWARES
    external_views = EXTERNAL_VIEWS

    @classmethod
    def on_load(cls, *_args: Any, **_kwargs: Any) -> None:
        """Import the engine in a Celery worker that loads its plugins at its start, before it forks."""
        if preload.in_celery_worker():
            preload.warm_up()
