"""vmkeep as a plugin of Airflow. An installed vmkeep is found by its entry point ``airflow.plugins``."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from vmkeep_airflow import pools, preload, runnotes, verdict

_LISTENERS: list[Any] = [runnotes, pools, verdict, preload]


class VmkeepPlugin(AirflowPlugin):
    """Makes pools and imports the engine when a scheduler starts; says what a run is about; judges it last."""

    name = "vmkeep"
    listeners = _LISTENERS

    @classmethod
    def on_load(cls, *_args: Any, **_kwargs: Any) -> None:
        """Get a Celery worker ready that loads its plugins as it starts, before it forks."""
        if preload.in_celery_worker():
            preload.warm_up()
