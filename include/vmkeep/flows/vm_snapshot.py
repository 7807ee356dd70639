"""Takes a backup's snapshot: enables tracking, takes it, saves the VM's files."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from functools import partial

from vmkeep.errors import NotFoundError, SnapshotsInTheWayError, VmKeepError
from vmkeep.flows import guest_hooks, suspension
from vmkeep.flows.backup_values import Preflight, SnapshotTaken
from vmkeep.flows.changed_since import reached, require_as_planned
from vmkeep.flows.dead_restores import refuse_beside_a_restore
from vmkeep.flows.half_written import incomplete_words
from vmkeep.flows.kept_names import kept_names
from vmkeep.flows.liveness import HasEnded
from vmkeep.flows.other_snapshots import Cleared, give_way
from vmkeep.flows.quiescing import Quiesced, take_quiesced
from vmkeep.flows.read_as_it_is import require_off
from vmkeep.model.fullreason import FullRead, FullReason
from vmkeep.model.guest import CommandOutcome, Logins, outcomes
from vmkeep.model.point import BackupMode, Consistency, Quiesce
from vmkeep.repository import Repository
from vmkeep.vsphere import changes, claims, inventory, snapshots, tools, vmfiles
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)


def hold_still(
    session: Session,
    repository: Repository,
    pre: Preflight,
    *,
    begun: str,
    cleared: Cleared,
    has_ended: HasEnded,
    logins: Logins,
) -> SnapshotTaken:
    """Take the snapshot, and store the VM's configuration files. With mode ASIS, take none, and see that the VM is off.

    If anything fails after the snapshot was taken, it is removed again before the error is raised.

    :param begun: the try of the run that begins with this step.
    :param cleared: the outcome of the look before, which all later snapshots of other runs are younger than.
    :param logins: returns the guest's user for the commands that freeze and thaw it.
    :raises ConflictError: another run took its snapshot at the same time, a moment earlier.
    """
    vm = _moref(pre)
    warnings: list[str] = []
    if pre.mode is BackupMode.ASIS:
        with inventory.look_at_whole_vm(session, vm):
            resting = require_off(session, pre)
            half_written = _half_written_since(session, repository, pre, resting)
            warnings += half_written
            require_as_planned(pre, resting)
            taken = _taken(session, repository, pre, begun, None, _resting(pre), session.server_time(), warnings)
        ran = outcomes(pre.request.guest, CommandOutcome.NOT_RUN) if pre.request.guest else None
        taken = replace(taken, half_written="".join(half_written))
        return replace(taken, version=resting.change_version, quiesced=Quiesce.NONE, guest_commands=ran)
    untracked = None if pre.tracked else _track(session, vm)
    if untracked is not None:
        warnings.append(f"change tracking stays off, so every backup reads all: {untracked.text}")
    quiesced = None
    try:
        with (
            guest_hooks.frozen_guest(session, repository, pre, logins, warnings) as frozen,
            suspension.suspended(session, repository, pre),
        ):
            quiesced = _create(session, pre, repository.id)
    except BaseException:
        if quiesced is not None or pre.mode is BackupMode.SUSPEND:
            _remove_taken(session, repository, pre)
        raise
    snapshot = quiesced.snapshot
    try:
        with inventory.look_at_whole_vm(session, vm):
            give_way(session, repository, pre, snapshot, cleared, has_ended)
            now = inventory.describe_vm(session, vm)
            half_written = _half_written_since(session, repository, pre, now)
            warnings += half_written
            require_as_planned(pre, now)
            least = Consistency.CRASH
            taken = _taken(session, repository, pre, begun, snapshot.moref, least, snapshot.created_at, warnings)
        quiesced = reached(
            quiesced,
            tools_run=lambda: now.tools_running or tools.await_tools(session, vm),
            required=pre.request.quiesce_required,
            vm=pre.vm.name,
        )
        consistency = _consistency(pre, quiesced, warnings)
        told = replace(taken, quiesced=quiesced.used, changes=quiesced.changes, untracked=untracked)
        told = replace(told, half_written="".join(half_written))
        return replace(told, consistency=consistency, warnings=tuple(warnings), guest_commands=frozen.ran)
    except BaseException:
        log.warning("VM %s: removing snapshot %s, because the step failed", pre.vm.name, snapshot.moref)
        snapshots.remove(session, vm, snapshot.moref)
        raise


def _remove_taken(session: Session, repository: Repository, pre: Preflight) -> None:
    """Remove the snapshot of a run whose VM was not suspended or frozen all the time, or could not be resumed."""
    try:
        for snapshot in snapshots.find_by_run(session, _moref(pre), pre.request.run):
            if not snapshot.is_of_other(repository.id):
                snapshots.remove(session, _moref(pre), snapshot.moref)
    except VmKeepError as error:
        log.warning("VM %s: its snapshot is left to the clean-up of the run: %s", pre.vm.name, error)


def _half_written_since(
    session: Session, repository: Repository, pre: Preflight, now: inventory.VmDescription
) -> list[str]:
    """Look once more for a restore over the VM, because hours may have passed in a queue since the preflight.

    :returns: one sentence, if a restore has left the VM partly written and the preflight did not know.
    """
    found = refuse_beside_a_restore(session, repository, pre.vm, claims.claim_on(session, _moref(pre)))
    if now.incomplete and not found:
        found = (incomplete_words(now.incomplete),)
    return [warning for warning in found if warning not in pre.warnings]


def _create(session: Session, pre: Preflight, repository: str) -> Quiesced:
    memory = pre.mode is BackupMode.SNAPSHOT_INCL_MEM and pre.running
    take = partial(snapshots.create, session, _moref(pre), run=pre.request.run, repository=repository, memory=memory)
    return take_quiesced(take, pre.quiesce, required=pre.request.quiesce_required, vm=pre.vm.name)


def _consistency(pre: Preflight, taken: Quiesced, warnings: list[str]) -> Consistency:
    """Return the consistency of a snapshot, and add the warnings that belong to it."""
    warnings += taken.warnings
    if not pre.running:
        return _resting(pre)
    if pre.mode is BackupMode.SUSPEND:
        warnings.append(
            "the memory of the suspended VM is not in the restore point: a restored guest starts as after a power "
            "failure"
        )
        return Consistency.SUSPENDED
    if pre.mode is BackupMode.SNAPSHOT_INCL_MEM:
        warnings.append(
            "the memory that the snapshot holds is not in the restore point: a restored guest starts as after a power "
            "failure"
        )
        return Consistency.MEMORY
    if taken.used is Quiesce.NONE:
        return Consistency.CRASH
    # vSphere does not tell what VMware Tools did inside the guest. They promise at least flushed file systems.
    if taken.used is Quiesce.APPLICATION:
        warnings.append(
            "application quiescing was asked for, but vSphere does not tell whether applications took part: "
            "the point counts as file-system consistent"
        )
    return Consistency.FILE_SYSTEM


def _resting(pre: Preflight) -> Consistency:
    return Consistency.SUSPENDED if pre.suspended else Consistency.POWERED_OFF


def _track(session: Session, moref: str) -> FullRead | None:
    """Switch change tracking on. If that is not possible, return the reason, because every disk is read in full."""
    try:
        changes.enable_tracking(session, moref)
    except SnapshotsInTheWayError as error:
        return FullRead(reason=FullReason.SNAPSHOTS_IN_THE_WAY, text=str(error))
    except VmKeepError as error:
        return FullRead(reason=FullReason.NOT_TRACKED, text=str(error))
    return None


def _taken(
    session: Session,
    repository: Repository,
    pre: Preflight,
    begun: str,
    snapshot: str | None,
    consistency: Consistency,
    taken_at: datetime,
    warnings: list[str],
) -> SnapshotTaken:
    vm = _moref(pre)
    # The VM's own configuration is stored, because the snapshot's may lack disks that no snapshot can hold.
    documents: dict[str, bytes] = {"config.xml": inventory.config_xml(session, vm).encode()}
    places = vmfiles.FilePlaces(session, vm)
    try:
        documents["vm.vmx"] = vmfiles.fetch_vmx(session, vm, places)
    except VmKeepError as error:
        warnings.append(f"the .vmx file is not in the restore point, whose saved configuration is enough: {error}")
    try:
        documents["vm.nvram"] = vmfiles.fetch_nvram(session, vm, places)
    except VmKeepError as error:
        warnings += _without_nvram(session, pre, error)
    documents |= kept_names(session, vm, pre.disks, warnings)
    # Together, because every writer loads the index and adds to it: two packs and a segment for each VM.
    attached = repository.store_attachments(documents, run=pre.request.run, begun=begun)
    return SnapshotTaken(
        begun=begun,
        snapshot=snapshot,
        vm=vm,
        consistency=consistency,
        taken_at=taken_at,
        attachments={name: root for name, (root, _) in attached.items()},
        attachment_sizes={name: count for name, (_, count) in attached.items()},
        warnings=tuple(warnings),
    )


def _without_nvram(session: Session, pre: Preflight, why: VmKeepError) -> list[str]:
    """Return the warning of a restore point that has no NVRAM, if there is one."""
    if vmfiles.boots_by_efi(session, _moref(pre)):
        lost = "its boot entries and Secure Boot settings, without which a restored VM may not start by itself"
        return [f"the NVRAM of this VM, which boots by EFI, is not in the restore point ({lost}): {why}"]
    if isinstance(why, NotFoundError) and not pre.running:
        log.info("VM %s has no NVRAM yet, as is usual before its first start: %s", pre.vm.name, why)
        return []
    return [f"the NVRAM, with the BIOS settings, is not in the restore point: {why}"]


def _moref(pre: Preflight) -> str:
    if pre.vm.moref is None:
        raise NotFoundError(f"VM {pre.vm.name} has no managed object id")
    return pre.vm.moref
