"""Gathers the facts of which reports are made, from a repository and its catalog."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from itertools import groupby

from vmkeep.blobs import locks_of
from vmkeep.catalog import CatalogEntry, ask_catalog
from vmkeep.clock import now
from vmkeep.flows.failed_checks import bad_points
from vmkeep.flows.proved_vms import last_proofs
from vmkeep.flows.recovery_records import list_reports
from vmkeep.lateclass import dataclass
from vmkeep.model.hostconfig import is_host_key
from vmkeep.model.proofs import ProofKind, VmProof
from vmkeep.model.wording import named_apart
from vmkeep.recovery import RecoveryReport
from vmkeep.repository import Repository
from vmkeep.repository.folders import POINTS
from vmkeep.repository.points import blob_of_ref


@dataclass(frozen=True, slots=True, kw_only=True)
class PastPoint:
    """A restore point, with what is known about it now."""

    ref: str
    vm_key: str
    vm_name: str
    """The name that its newest point has; where several VMs have it, with the VM's place in brackets."""
    taken_at: datetime
    policy: str = ""
    """Empty: a person made it, or an older program."""
    bytes_read: int = 0
    bytes_stored: int = 0
    """Bytes that its backup added to the repository."""
    capacity: int = 0
    skipped: int = 0
    """Disks that the point lacks."""
    good: bool = True
    """It is neither damaged nor suspect, and no check of it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The lock of a point's manifest, as the store tells it."""

    until: datetime
    """It holds at least until then."""
    trouble: str = ""
    """``deleted`` or ``overwritten``: somebody has hidden the manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The facts about one repository."""

    location: str
    at: datetime
    points: tuple[PastPoint, ...]
    """Oldest first."""
    damaged: tuple[str, ...] = ()
    """Points that cannot be read, each with the reason."""
    proofs: Mapping[str, Mapping[ProofKind, VmProof]] = field(default_factory=dict)
    """The last proof of each kind by the key of its VM; of kind malware, the scan of its last clean point."""
    recoveries: tuple[RecoveryReport, ...] = ()
    """Runs of recovery plans, oldest first."""
    locked_for: timedelta | None = None
    """The time for which the repository locks blobs; ``None``: it locks none."""
    locks: Mapping[str, Lock] | None = None
    """By the ref of the point; ``None``: the store keeps no locks, or nobody asked for them."""

    def by_vm(self) -> Iterator[tuple[str, Sequence[PastPoint]]]:
        """Yield each VM's key with its points, oldest first; the VMs by name."""
        ordered = sorted(self.points, key=lambda point: (point.vm_key, point.taken_at, point.ref))
        groups = [(key, list(points)) for key, points in groupby(ordered, key=lambda point: point.vm_key)]
        yield from sorted(groups, key=lambda group: (group[1][-1].vm_name, group[0]))


def policy_of(points: Sequence[PastPoint]) -> str:
    """Return the policy that a VM belongs to: that of its newest point which names one; empty: none does."""
    return next((point.policy for point in reversed(points) if point.policy), "")


def gather(repository: Repository, *, catalog: str, locks: bool = False) -> Past:
    """Gather the facts. Configurations of hosts are left out.

    :param catalog: the SQLAlchemy URL of the catalog. If it cannot be used, the whole repository is read.
    :param locks: ask the store for the locks of all manifests, which is one listing.
    """
    refreshed, entries, policies = ask_catalog(
        catalog, lambda cache: (cache.refresh(repository), cache.points(repository.id), cache.policies(repository.id))
    )
    bad = bad_points(repository)
    entries = [entry for entry in entries if not is_host_key(entry.vm_key)]
    names = named_apart({entry.vm_key: (entry.vm_name, _place(entry)) for entry in entries})
    points = tuple(
        PastPoint(
            ref=entry.ref,
            vm_key=entry.vm_key,
            vm_name=names[entry.vm_key],
            taken_at=entry.taken_at,
            policy=policies.get(entry.ref, ""),
            bytes_read=entry.bytes_read,
            bytes_stored=entry.bytes_stored,
            capacity=entry.capacity,
            skipped=entry.skipped,
            good=entry.ref not in bad,
        )
        for entry in entries
    )
    rule = repository.descriptor.lock
    return Past(
        location=repository.blobs.location,
        at=now(),
        points=points,
        damaged=refreshed.damaged,
        proofs=last_proofs(repository, {entry.vm_key: entry.vm_name for entry in entries}),
        recoveries=list_reports(repository),
        locked_for=rule.period if rule else None,
        locks=_locks(repository, points, rule.period) if locks and rule else None,
    )


def _place(entry: CatalogEntry) -> str:
    """Return what tells a VM from others of its name."""
    return ", ".join(filter(None, (entry.server, entry.inventory_path or entry.moref))) or entry.vm_key


def _locks(repository: Repository, points: Sequence[PastPoint], period: timedelta) -> dict[str, Lock] | None:
    """Return the locks of points; a point without one is not in it. The store may have extended a lock since."""
    if (kept := locks_of(repository.blobs)) is None:
        return None
    refs = {blob_of_ref(point.ref): point.ref for point in points}
    return {
        refs[found.key]: Lock(until=found.original.modified + period, trouble=found.trouble)
        for found in kept.versions(POINTS)
        if found.key in refs and found.original is not None
    }
