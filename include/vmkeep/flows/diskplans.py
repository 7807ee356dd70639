"""Plans the copy of each disk of a backup: the changes to read, or a full read and the reason for it."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from vmkeep.clock import now
from vmkeep.errors import ChangesUnknownError, NotFoundError, StaleError
from vmkeep.flows import limits, lun_reads
from vmkeep.flows.audit_rotation import plan_audit
from vmkeep.flows.backup_values import Preflight, SnapshotTaken
from vmkeep.flows.connect import open_vsphere, require_server
from vmkeep.flows.parents import NO_POINT, choose_parent, find_unfit
from vmkeep.flows.same_vm import other_history, other_vm
from vmkeep.flows.transports import transports_of
from vmkeep.lateclass import dataclass
from vmkeep.model.audit import runs_of
from vmkeep.model.disk import ChangeId
from vmkeep.model.extents import Extents, total
from vmkeep.model.fullreason import FullRead, FullReason
from vmkeep.model.job import DiskJob
from vmkeep.model.point import BackupKind, DiskImage, RestorePoint
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import Repository, open_site_repository
from vmkeep.vsphere import changes, inventory
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)

CHANGES_SECONDS = 2 * 3600.0
"""Seconds to ask vSphere for the changes of all disks of a VM, because its snapshot grows meanwhile.

Disks whose changes are not known by then are read in full.
"""


def plan_disks(site: Site, pre: Preflight, taken: SnapshotTaken) -> tuple[DiskJob, ...]:
    """Make a job of each disk to copy: its changed extents, or a full read and the reason for it."""
    seen_at = now()
    with (
        open_site_repository(site) as repository,
        open_vsphere(site) as session,
        inventory.look_at_held_disks(session, taken.vm),
    ):
        require_server(session, pre.vm.vcenter, pre.vm.name)
        planning = _Planning(session, repository, pre, taken)
        held = {disk.key: disk for disk in inventory.held_disks(session, taken.vm, taken.snapshot)}
        lun_reads.require_same(session, pre)
        jobs = []
        for disk in pre.disks:
            if disk.skip is None:
                if (from_lun := lun_reads.job_for(disk, pre, taken)) is not None:
                    jobs.append(from_lun)
                    continue
                if disk.key not in held:
                    raise StaleError(f"VM {pre.vm.name}: {disk.label} is not in snapshot {taken.snapshot}; start again")
                jobs.append(planning.job(held[disk.key]))
        if taken.held and taken.snapshot is not None:
            jobs = [replace(limits.limited(session, site.limits, job), seen_at=seen_at) for job in jobs]
        return tuple(jobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Increment:
    """The image that a disk continues, and the extents that changed since."""

    image: DiskImage
    changed: Extents
    reason: str


class _Planning:
    """The plans of one VM's disks, which share the point to continue and the time to ask for changes."""

    def __init__(self, session: Session, repository: Repository, pre: Preflight, taken: SnapshotTaken) -> None:
        self._session = session
        self._repository = repository
        self._pre = pre
        self._taken = taken
        self._deadline = time.monotonic() + CHANGES_SECONDS
        self._point, self._missing = _last_point(repository, pre)
        self._unfit = find_unfit(repository, self._point.ref) if self._point is not None else None
        self._audit_runs = runs_of(pre.request.audit)

    def job(self, held: inventory.HeldDisk) -> DiskJob:
        """Make the job of one disk, and store its changed extents as a note of the run."""
        found, stored = self._find(held), None
        if isinstance(found, _Increment):
            stored = (
                f"extents-{held.disk.key}-{self._taken.begun}"  # because another try of the run has its own changes
            )
            self._repository.run(self._pre.request.run).store_extents(stored, found.changed)
        increment = found if isinstance(found, _Increment) else None
        full = found if isinstance(found, FullRead) else None
        if full is not None:
            log.info("%s: full read (%s): %s", held.disk.label, full.reason, full.text)
        way = transports_of(self._pre, held.disk.key)
        return DiskJob(
            run=self._pre.request.run,
            begun=self._taken.begun,
            vm=VmRef(moref=self._taken.vm, name=self._pre.vm.name),
            vcenter=self._pre.vm.vcenter,
            snapshot=self._taken.snapshot,
            disk=replace(held.disk, skip=None),  # it is copied, so that no reason to skip it counted
            kind=BackupKind.FULL if increment is None else BackupKind.INCREMENTAL,
            reason=full.text if full else increment.reason if increment else "",
            change_id=held.change_id,
            extents=stored,
            parent_root=increment.image.root if increment else None,
            full_reason=full.reason if full else None,
            parent=self._point.ref if increment and self._point else None,
            audit=plan_audit(self._repository, self._point, increment.image, of=self._audit_runs)
            if increment and self._point
            else None,
            transports=way.modes,
            why_transports=way.why,
        )

    def _find(self, held: inventory.HeldDisk) -> _Increment | FullRead:
        """Find the changes of a disk, or the first reason why they are not known or may not be believed."""
        image = choose_parent(
            held.disk, self._point, full=self._pre.request.full, unfit=self._unfit, missing=self._missing
        )
        if isinstance(image, FullRead):
            return self._untracked(image, held.change_id) if image.reason is FullReason.NO_CHANGE_ID else image
        if self._taken.snapshot is None:
            why = "the disk is read without a snapshot, and vSphere tells changes only between snapshots"
            return FullRead(reason=FullReason.NO_SNAPSHOT, text=why)
        if held.change_id is None:
            return self._untracked(
                FullRead(reason=FullReason.NOT_TRACKED, text="the disk has no change tracking"), held.change_id
            )
        if (other := other_history(image, held.disk, held.change_id)) is not None:
            return other
        return self._ask(held, image, self._taken.snapshot)

    def _untracked(self, found: FullRead, change_id: ChangeId | None) -> FullRead:
        """Return the reason why the disk is not tracked now, if it is known, because a person can remove that."""
        off = self._taken.untracked
        if change_id is not None or off is None:
            return found
        return FullRead(reason=off.reason, text=f"{found.text}, and change tracking stays off: {off.text}")

    def _ask(self, held: inventory.HeldDisk, image: DiskImage, snapshot: str) -> _Increment | FullRead:
        assert self._point is not None
        assert image.change_id is not None
        disk = held.disk
        try:
            changed = changes.changed_extents(
                self._session,
                self._taken.vm,
                snapshot,
                disk.key,
                disk.capacity,
                image.change_id,
                timeout=min(changes.QUERY_SECONDS, self._deadline - time.monotonic()),
            )
        except ChangesUnknownError as error:
            return FullRead(reason=FullReason(error.reason), text=str(error))
        reason = f"changes since {self._point.ref}"
        log.info("%s: %d extents, %d bytes changed, %s", disk.label, len(changed), total(changed), reason)
        return _Increment(image=image, changed=changed, reason=reason)


def _last_point(repository: Repository, pre: Preflight) -> tuple[RestorePoint | None, FullRead]:
    """Read the point to continue anew, because the run has begun. Without one, return the reason."""
    if pre.parent is None:
        return None, FullRead(reason=pre.no_parent_reason, text=pre.no_parent or NO_POINT.text)
    try:
        point = repository.load_point(pre.parent)
    except NotFoundError:
        log.warning("VM %s: %s was removed meanwhile, so every disk is read in full", pre.vm.name, pre.parent)
        why = f"{pre.parent}, the last restore point of this VM, was removed meanwhile"
        return None, FullRead(reason=FullReason.POINT_REMOVED, text=why)
    if (why_not := other_vm(point.vm, pre.vm)) is None:
        return point, NO_POINT
    return None, FullRead(reason=FullReason.OTHER_VM, text=f"{point.ref} is of another VM: {why_not}")
