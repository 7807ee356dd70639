"""The steps of one VM's backup, in the order a run takes them.

Each step can be tried again: blocks are stored once, a restore point is sealed once per snapshot, and removing a
snapshot that is gone is success. Only :func:`take_snapshot` and :func:`remove_snapshot` change the VM.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial

from vmkeep.clock import now
from vmkeep.errors import (
    CorruptError,
    DiskMovedError,
    NotFoundError,
    StaleError,
    UnsupportedError,
    VddkError,
    VmKeepError,
)
from vmkeep.flows import array_hooks, guest_hooks, guest_thaws, limits, lun_reads, suspension, vm_access
from vmkeep.flows.backup_values import BackupRequest, Preflight, SnapshotTaken, VerifyReport
from vmkeep.flows.connect import check_driver, open_vsphere, pinned, require_server
from vmkeep.flows.dead_restores import refuse_beside_a_restore
from vmkeep.flows.digest_checks import check_digests
from vmkeep.flows.disk_choice import choose_disks, readable, require_some
from vmkeep.flows.diskplans import plan_disks
from vmkeep.flows.few_segments import keep_segments_few
from vmkeep.flows.half_written import incomplete_words
from vmkeep.flows.last_seen import sightings_for
from vmkeep.flows.liveness import HasEnded, nobody_knows
from vmkeep.flows.modes import choose_mode
from vmkeep.flows.other_snapshots import remove_leftovers
from vmkeep.flows.parents import find_last_point
from vmkeep.flows.proving import try_to_record
from vmkeep.flows.read_as_it_is import refuse_shared_in_use
from vmkeep.flows.sealing import seal
from vmkeep.flows.snapshot_removal import remove_own_snapshot, remove_snapshot
from vmkeep.flows.transports import plan_transports, warnings_of
from vmkeep.flows.vm_snapshot import hold_still
from vmkeep.model import lun
from vmkeep.model.fullreason import FullReason
from vmkeep.model.guest import Logins, no_logins
from vmkeep.model.job import Cursor, DiskCopy, DiskJob, Progress
from vmkeep.model.proofs import ProofResult
from vmkeep.model.purpose import Purpose
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import Repository, open_site_repository
from vmkeep.transfer import RunningTransfer, start_copy
from vmkeep.vsphere import inventory, loads, rightscheck, snapshots
from vmkeep.vsphere.remains import find_remains
from vmkeep.vsphere.session import Session

__all__ = [
    "RunningTransfer", "copy_disk", "plan_disks", "preflight", "remove_own_snapshot", "remove_snapshot",
    "seal", "take_snapshot", "verify_point",
]  # fmt: skip

log = logging.getLogger(__name__)

SEEN_LATELY = timedelta(minutes=10)
"""Time for which a copy goes by the look of its plan, if nobody can move the disk. The host, by which a limit goes, may
change meanwhile. If a person has removed the snapshot, the disk cannot be opened, and a look then tells the reason."""
_LEASE = "snapshot"
"""Name of the lease that a run holds while its snapshot is taken."""


def preflight(site: Site, request: BackupRequest, *, logins: Logins = no_logins) -> Preflight:
    """Find out and decide all that can be known before the VM is touched. Changes nothing.

    :param logins: returns the guest's user for commands in the guest.
    """
    driver = check_driver(site)
    array_hooks.check(site)
    with open_site_repository(site) as repository, open_vsphere(site) as session, ExitStack() as reading:
        moref = _meant(session, request, repository, site)
        reading.enter_context(inventory.look_at_whole_vm(session, moref))
        vm = inventory.describe_vm(session, moref)
        if vm.not_protectable is not None:
            raise UnsupportedError(f"VM {vm.identity.name} is not protectable: {vm.not_protectable}")
        half_written = refuse_beside_a_restore(session, repository, vm.identity, vm.claim)
        if vm.incomplete and not half_written:
            half_written = (incomplete_words(vm.incomplete),)
        choice = choose_mode(request, vm, choose_disks(vm.disks, request))
        when = (*guest_hooks.circumstances(request.guest), *suspension.circumstances(choice.mode))
        rightscheck.require_on_vm(session, Purpose.BACKUP, vm, when=when)
        disks = lun_reads.choose(choose_disks(readable(vm.disks, choice.mode), request), request)
        require_some(disks, request, vm.identity.name)
        refuse_shared_in_use(session, vm, disks)
        luns = lun_reads.find(site, session, vm.moref, disks)
        ways = plan_transports(session, vm, lun_reads.others(disks), request.transports, driver.transports)
        guest = guest_hooks.check(session, vm, request.guest, choice.mode, logins)
        last = find_last_point(repository, vm.identity)
        managed = f"it is managed by {vm.managed_by}, which may undo a restore of it, or be disturbed by one"
        warnings = [managed] if vm.managed_by is not None else []
        warnings += [f"{disk.label} ({disk.address}) is skipped: {disk.why_skipped}" for disk in disks if disk.skip]
        return Preflight(
            request=request,
            vm=vm.identity,
            repository=repository.id,
            disks=disks,
            running=vm.running,
            suspended=vm.power is inventory.PowerState.SUSPENDED,
            tracked=vm.tracked,
            mode=choice.mode,
            quiesce=choice.quiesce,
            changes=choice.changes,
            parent=last.point.ref if last.point else None,
            no_parent=last.full.text if last.full else "",
            no_parent_reason=last.full.reason if last.full else FullReason.NO_POINT,
            luns=luns,
            transports=ways,
            half_written=half_written[0] if half_written else "",
            warnings=(*half_written, *warnings, *last.warnings, *choice.warnings, *warnings_of(ways, disks), *guest),
        )


def _meant(session: Session, request: BackupRequest, repository: Repository, site: Site) -> str:
    """Return the id of the VM that a request means.

    A window has chosen the VM by its id already. So no other VM can be meant, whatever somebody has called it, and the
    names of all VMs, which take a call for each 200, are not read once more for each of them.
    """
    kind, _, moref = request.vm_selector.partition(":")
    if request.policy and kind == "moref":
        return inventory.find_by_id(session, moref).moref
    seen = sightings_for(session, request.vm_selector, repository, site.catalog)
    return inventory.find_moref(session, request.vm_selector, seen)


def take_snapshot(
    site: Site, pre: Preflight, *, has_ended: HasEnded = nobody_knows, logins: Logins = no_logins
) -> SnapshotTaken:
    """Take the VM's snapshot for this run. If anything fails on the way, nothing is left behind.

    :param has_ended: tells whether the owner of another run has ended; ``None``: the owner is not known.
    :param logins: returns the guest's user for commands in the guest.
    :raises LimitReachedError: a limit leaves no room for this snapshot now. Only what dead runs had left was touched.
    """
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        # A run that is cleared and started again begins anew: its old fence goes, and copies of the old try stop.
        area = repository.run(pre.request.run)
        area.restart()
        require_server(session, pre.vm.vcenter, pre.vm.name)
        vm, run = VmRef(moref=pre.vm.moref or "", name=pre.vm.name), pre.request.run
        left = find_remains(session, vm.moref)
        suspension.resume_before_backup(session, repository, pre, has_ended, left.marked)
        cleared = remove_leftovers(session, repository, pre, has_ended, left)  # which may make room
        seen = left.look() if left.at_rest and not cleared.removed else loads.look_at_loads(session, vm.moref)
        # Before the permits, because a sweep gives back those of a run without a living owner, lease or snapshot.
        area.store("owner", pre.request.owner.encode())
        with area.open_lease(_LEASE, removed=True):
            limits.hold_for_snapshot(session, repository, site.limits, pre, seen)
            begun = repository.begin_run(pre.request.run)
            hooks = array_hooks.end_left(site, repository, pre, has_ended)
            frozen = guest_thaws.thaw_before(session, repository, pre, has_ended, logins)
            try:
                warnings = vm_access.hold(site, session, repository, vm, run)
                taken = hold_still(
                    session, repository, pre, begun=begun, cleared=cleared, has_ended=has_ended, logins=logins
                )
                taken = array_hooks.before_copy(site, session, repository, pre, taken)
            except BaseException:
                vm_access.release(site, session, repository, vm.moref, run)
                raise
        held = not warnings and vm_access.can_hold(site, session)
        return replace(taken, held=held, warnings=(*hooks, *frozen, *warnings, *taken.warnings))


def copy_disk(
    site: Site,
    job: DiskJob,
    *,
    cursor: Cursor | None,
    on_progress: Callable[[Progress], None],
    again: bool = False,
) -> RunningTransfer[DiskCopy]:
    """Start the copy of one disk in a child process. A cursor of another snapshot is ignored.

    :param again: it was tried before, so that the disk may not be where the plan saw it.
    """
    with open_vsphere(site) as session:
        require_server(session, job.vcenter, job.vm.name)
        looked = again or not _seen_lately(job)
        if looked:
            job = _looked_for(session, site, job)
        child_site = pinned(site, session)
    if job.lun is not None:
        child_site = replace(child_site, disk_drivers=(lun.DRIVER,))
    usable = cursor if cursor is not None and cursor.snapshot == job.snapshot else None
    explain = None if looked else partial(_reason_of, site, job)
    return start_copy(child_site, job, cursor=usable, on_progress=on_progress, explain=explain)


def _reason_of(site: Site, job: DiskJob, error: VmKeepError) -> VmKeepError:
    """Return the reason why a disk could not be read that was not looked for: it, or its snapshot, may be gone."""
    if not isinstance(error, (VddkError, DiskMovedError)):
        return error
    try:
        with open_vsphere(site) as session:
            _looked_for(session, site, job)
    except (StaleError, NotFoundError) as gone:
        return gone
    except VmKeepError as problem:
        log.warning("VM %s: %s could not be looked for after an error: %s", job.vm.name, job.disk.label, problem)
    return error


def _seen_lately(job: DiskJob) -> bool:
    """Return whether a disk is where its job says. If a clock went back, nobody knows."""
    return job.seen_at is not None and timedelta() <= now() - job.seen_at < SEEN_LATELY


def _looked_for(session: Session, site: Site, job: DiskJob) -> DiskJob:
    """Return the job with the disk's place and the limits of now.

    :raises StaleError: the snapshot or the disk is gone.
    """
    with inventory.look_at_held_disks(session, job.vm.moref):
        if job.snapshot is not None:
            snapshots.require(session, job.vm.moref, job.snapshot)
        job = job if job.lun is not None else _where_it_is(session, job)
        return limits.limited(session, site.limits, job)


def _where_it_is(session: Session, job: DiskJob) -> DiskJob:
    """Return the job with the disk's present file name, because a VM that was moved keeps its snapshot and disks.

    :raises StaleError: the disk is gone.
    """
    held = inventory.held_disks(session, job.vm.moref, job.snapshot)
    now = next((one.disk for one in held if one.disk.key == job.disk.key and one.disk.uuid == job.disk.uuid), None)
    if now is None:
        raise StaleError(f"VM {job.vm.name}: {job.disk.label} is not where it was planned any more; start again")
    if now.file_name != job.disk.file_name:
        log.warning("VM %s: %s was moved to %s", job.vm.name, job.disk.label, now.file_name)
    return replace(job, disk=replace(job.disk, file_name=now.file_name, chain=now.chain))


def verify_point(site: Site, ref: str, *, sample: float = 0.05) -> VerifyReport:
    """Read blocks of a restore point back, compare them with their digests, and keep the outcome with the point.

    :param sample: the share of blocks to read; 1.0: all; 0: only the maps and the saved files, which proves nothing.
    :raises CorruptError: a block, a map or a saved file is damaged or lost.
    """
    with open_site_repository(site) as repository:
        point = repository.load_point(ref)
        checked = check_digests(repository, point, sample=sample)
        if sample > 0:
            try_to_record(repository, ref, checked, by=point.policy or "", run=point.run)
        keep_segments_few(repository)  # here, because the snapshot is gone by now, and the index is loaded
    if checked.result is ProofResult.FAILED:
        raise CorruptError(f"restore point {ref}: {checked.text}")
    return VerifyReport(
        point=ref,
        blocks_checked=checked.details["blocks"],
        bytes_checked=checked.details["bytes"],
        seconds=checked.details["seconds"],
    )
