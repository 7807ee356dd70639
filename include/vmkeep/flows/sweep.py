"""Every snapshot that some run of vmkeep has taken and not removed, on one VM or anywhere on a vCenter."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from vmkeep.errors import NotFoundError
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.hold import is_alive
from vmkeep.model.site import Site
from vmkeep.repository import open_site_repository
from vmkeep.vsphere import inventory, snapshots


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSnapshot:
    """A snapshot, and the run it belongs to."""

    vm: str
    """Managed object id of the VM."""
    vm_name: str
    run: str
    snapshot: str
    """Managed object id."""
    age: timedelta
    """By vCenter's own clock."""
    alive: bool
    """Whether the run may still need it, as far as the repository can tell: it holds a lease, or has just begun."""


def find_run_snapshots(site: Site, vm: str | None = None) -> tuple[RunSnapshot, ...]:
    """Return what runs have left, or still use, on the VM of that id, or on every VM; changes nothing."""
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        records = [record for record in inventory.list_vms(session) if vm in (None, record.moref)]
        found = []
        for record in records:
            try:
                ours = snapshots.list_ours(session, record.moref)
            except NotFoundError:
                continue  # deleted since it was listed
            now = session.server_time() if ours else None
            for snapshot in ours:
                assert now is not None
                found.append(
                    RunSnapshot(
                        vm=record.moref,
                        vm_name=record.name,
                        run=snapshot.run,
                        snapshot=snapshot.moref,
                        age=now - snapshot.created_at,
                        alive=is_alive(repository, snapshot, now=now),
                    )
                )
        return tuple(found)
