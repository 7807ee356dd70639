"""Assets on which other DAGs can be scheduled: one of all restore points, and one of each VM's.

Their names have no scheme: with one, Airflow would import every provider's handlers wherever a DAG file is read.
"""

from __future__ import annotations

from urllib.parse import quote

from airflow.sdk import Asset, AssetAlias

RESTORE_POINTS = Asset("vmkeep_restore_points")
"""One event for each sealed and verified restore point; its ``extra`` holds ``point`` and ``vm``."""

ANNOUNCED = AssetAlias("vmkeep_announced")
"""Runs emit their events through this alias, because an outlet would emit one for every success of its task."""


def restore_points_of(vm: str) -> Asset:
    """Return the asset of one VM's restore points, e.g. ``vmkeep_restore_points/app01``.

    :param vm: its name in vSphere; characters other than letters, digits and ``_.-~`` are percent-encoded.
    """
    return Asset(f"{RESTORE_POINTS.name}/{quote(vm, safe='')}")
