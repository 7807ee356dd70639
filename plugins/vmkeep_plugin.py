"""Registers vmkeep where this folder is Airflow's plugins folder and the installed vmkeep does not register itself."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution


def _registers_itself() -> bool:
    try:
        return bool(distribution("vmkeep").entry_points.select(group="airflow.plugins"))
    except PackageNotFoundError:
        return False


if not _registers_itself():
    from vmkeep_airflow.plugin import VmkeepPlugin as VmkeepPlugin
