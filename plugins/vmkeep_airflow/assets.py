"""What other DAGs can be scheduled on: an asset of all restore points, and one for each VM's.

Their names have no scheme: with one, Airflow would import every provider's handlers wherever a DAG file is read.
"""

from __future__ import annotations

from urllib.parse import quote

from airflow.sdk import Asset, AssetAlias

RESTORE_POINTS = Asset("vmkeep_restore_points")
"""One event for each sealed and verified restore point; its ``extra`` holds ``point`` and ``vm``."""

ANNOUNCED = AssetAlias("vmkeep_announced")
"""Through which a run emits its events: an outlet of its own would emit one for every success of its task."""


def restore_points_of(vm: str) -> Asset:
    """Return the asset of one VM's restore points, e.g. ``vmkeep_restore_points/app01``.

    :param vm: its name in vSphere; what is not a letter, a digit or one of ``_.-~`` is percent-encoded.
    """
    return Asset(f"{RESTORE_POINTS.name}/{quote(vm, safe='')}")
