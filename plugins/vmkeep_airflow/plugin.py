"""vmkeep as a plugin of Airflow. An installed vmkeep is found by its entry point ``airflow.plugins``."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from vmkeep_airflow import notes, pools, verdict, warm


class VmkeepPlugin(AirflowPlugin):
    """Makes pools and imports the engine when a scheduler starts; says what a run is about; judges it last."""

    name = "vmkeep"
    listeners: ClassVar[list[Any]] = [notes, pools, verdict, warm]
