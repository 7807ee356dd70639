"""vmkeep as a plugin of Airflow. An installed vmkeep is found by its entry point ``airflow.plugins``."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from vmkeep_airflow import pools, preload, runnotes, starts, verdict

_LISTENERS: list[Any] = [runnotes, pools, starts, verdict, preload]


class VmkeepPlugin(AirflowPlugin):
    """Makes pools, and imports the engine as a scheduler starts; looks at a run as it starts, and judges it last."""

    name = "vmkeep"
    listeners = _LISTENERS

    @classmethod
    def on_load(cls, *_args: Any, **_kwargs: Any) -> None:
        """Get a Celery worker ready that loads its plugins as it starts, before it forks."""
        if preload.in_celery_worker():
            preload.warm_up()
