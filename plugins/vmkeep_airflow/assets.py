"""Assets on which other DAGs can be scheduled: for all restore points, for each VM, each policy, and for windows.

Their names have no scheme, because with a scheme Airflow would import every provider's handlers for each DAG file.
"""

from __future__ import annotations

from urllib.parse import quote

from airflow.sdk import Asset, AssetAlias

RESTORE_POINTS = Asset("vmkeep_restore_points")
"""Gets one event for each sealed and verified restore point. Its ``extra`` holds ``point``, ``vm``, and in
``repository`` the id of the connection to the point's repository."""

WINDOWS = Asset("vmkeep_windows")
"""Gets one event for each window of which its policy wants people told. Its ``extra`` holds ``policy``, ``run``,
``problems``, and in ``vms`` the number of VMs by how their backups ended."""

GUEST_CHECKS = Asset("vmkeep_guest_checks")
"""Gets one event for each run of ``guest_checks`` after which somebody has to look. Its ``extra`` holds ``run``, the
``names`` of the VMs that are inconsistent, and the summary in ``problems``."""

WINDOW_ENDS = Asset("vmkeep_window_ends")
"""Gets one event for each window that has come to its end, whether people are told or not. Its ``extra`` holds
``policy`` and ``run``. It is apart from ``WINDOWS``, because the check that it starts may tell people by that one."""

ANNOUNCED = AssetAlias("vmkeep_announced")
"""The alias through which runs emit their events, because an outlet would emit one for every success of its task."""


def restore_points_of(vm: str) -> Asset:
    """Return the asset of one VM's restore points, e.g. ``vmkeep_restore_points/app01``.

    :param vm: the VM's name in vSphere. Characters other than letters, digits and ``_.-~`` are percent-encoded.
    """
    return Asset(f"{RESTORE_POINTS.name}/{quote(vm, safe='')}")


def restore_points_by(policy: str) -> Asset:
    """Return the asset of the restore points that a policy has asked for, e.g. ``vmkeep_policy_points/nightly``.

    :param policy: the policy's name, which needs no encoding.
    """
    return Asset(f"vmkeep_policy_points/{policy}")


def window_ends_of(policy: str) -> Asset:
    """Return the asset of the ends of a policy's windows, e.g. ``vmkeep_window_ends/nightly``.

    It gets the policy's events of :data:`WINDOW_ENDS`. Work on new points begins by it, too, because Airflow starts no
    run for an event that comes while it makes the run of the event before. The next run takes that event, so there
    has to be a next run.

    :param policy: the policy's name, which needs no encoding.
    """
    return Asset(f"{WINDOW_ENDS.name}/{policy}")
