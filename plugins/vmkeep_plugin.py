"""Registers vmkeep with Airflow. Everything it points at lives in the package ``vmkeep_airflow``."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from vmkeep_airflow import pools, warm


class VmkeepPlugin(AirflowPlugin):
    """Makes the pools that vmkeep's DAGs run in, and imports the engine, when a scheduler starts."""

    name = "vmkeep"
    listeners: ClassVar[list[Any]] = [pools, warm]
