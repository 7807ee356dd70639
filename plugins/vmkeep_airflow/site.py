"""Makes a ``Site``, which all steps of the engine take, of Airflow connections."""

from __future__ import annotations

import os
from dataclasses import replace

from vmkeep.model.limits import parse_limits, parse_transfers
from vmkeep.model.site import Site, parse_hook_seconds
from vmkeep.privacy import hide_memory
from vmkeep_airflow.hooks.repository import RepositoryHook
from vmkeep_airflow.hooks.vsphere import VsphereHook


def repository_site(repository_conn_id: str) -> Site:
    """Read the connection to the repository, for steps that need no vCenter.

    :raises vmkeep.errors.UsageError: the connection is missing, of another type, or lacks a field.
    """
    hide_memory()
    place = RepositoryHook(repository_conn_id).get_conn()
    return Site(
        repository=place.location,
        passphrase=place.passphrase,
        aws=place.aws,
        limit_rate=place.limit_rate,
        catalog=place.catalog,
        limits=parse_transfers(place.transfers),
    )


def make_site(*, vsphere_conn_id: str, repository_conn_id: str) -> Site:
    """Read both connections.

    :raises vmkeep.errors.UsageError: a connection is missing, of another type, or lacks a field.
    """
    hide_memory()
    vsphere = VsphereHook(vsphere_conn_id)
    vcenter = vsphere.get_conn()
    where = repository_site(repository_conn_id)
    return replace(
        where,
        vcenter=vcenter,
        vddk=vsphere.vddk,
        disk_drivers=vsphere.disk_drivers,
        # Only from this worker's environment: who edits a connection or starts a run must not name a program to run.
        array_hook=os.environ.get("VMKEEP_ARRAY_HOOK") or None,
        array_hook_seconds=parse_hook_seconds(os.environ.get("VMKEEP_ARRAY_HOOK_SECONDS")),
        limits=parse_limits(vsphere.limits, where.limits),
    )
