"""Makes the plan of a restore over an existing VM, and refuses a VM that must not be written over."""

from __future__ import annotations

from dataclasses import replace

from vmkeep.errors import ConflictError, UnsupportedError, UsageError
from vmkeep.flows.block_choice import expect_choices
from vmkeep.flows.dead_restores import dead_or_refused
from vmkeep.flows.disk_targets import read_targets
from vmkeep.flows.liveness import HasEnded
from vmkeep.flows.matching import match_disks
from vmkeep.flows.nvram import Nvram, over_existing
from vmkeep.flows.other_snapshots import IF_DEAD, snapshot_run_is_alive
from vmkeep.flows.plan_basis import PlanBasis
from vmkeep.flows.restore_request import OnConflict
from vmkeep.flows.restore_values import DeadRestore, RestorePlan
from vmkeep.flows.targets import find_target, strange_target
from vmkeep.flows.undo_snapshot import require_undoable
from vmkeep.model.fieldwords import named
from vmkeep.model.purpose import Purpose
from vmkeep.model.vmref import VmRef
from vmkeep.repository import Repository
from vmkeep.vsphere import encryption, inventory, rightscheck, snapshots, storestates
from vmkeep.vsphere.inventory import VmDescription
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session

_SOME_DISKS = (
    "only the chosen disks go back in time; the other disks, and the NVRAM, stay as they are now: see that what is on "
    "them still fits together"
)
_NVRAM_STAYS = Nvram(put_back=False, notes=(_SOME_DISKS,))
"""The NVRAM belongs to the VM as a whole, so that a restore of some disks leaves it as it is."""


def plan_over(basis: PlanBasis) -> RestorePlan:
    """Find the VM to write over, match its disks with the point's, and check that it may be written over.

    :raises ConflictError: the request does not allow the VM to be written over, or something is at work on it.
    :raises UnsupportedError: no restore can write over such a VM.
    """
    session, request, point = basis.session, basis.request, basis.point
    vm = inventory.describe_vm(session, find_target(session, point, request))
    _require_a_choice(basis, vm)
    plan = RestorePlan(
        request=request,
        point=point.ref,
        vm=point.vm,
        vcenter=server_uuid(session),
        target=vm.identity,
        target_disks=vm.disks,
        target_name=vm.identity.name,
        target_runs=vm.power is inventory.PowerState.ON,
        matches=(),
        power_on=basis.powers_on,
    )
    wanted = read_targets(request.over, point, vm.disks)
    if request.on_conflict is OnConflict.KEEP:
        return replace(plan, nothing_to_do=True)
    _require_standing_still(vm)
    moref = vm.ref.moref
    if vm.encrypted:
        encryption.require_unlocked(session, moref, vm.identity.name)
    nvram = _NVRAM_STAYS if wanted.chosen is not None else over_existing(session, basis.repository, point, moref)
    dead = _dead_restore(basis, vm)
    rightscheck.require_on_vm(session, Purpose.RESTORE_OVER, vm)
    matches = match_disks(point, vm.disks, wanted)
    targets = {match.target_key for match in matches if match.written}
    storestates.require_writable(
        session, moref, vm.identity.name, vm.vmx, [disk for disk in vm.disks if disk.key in targets]
    )
    about_undo = require_undoable(session, request.over.undo, vm, matches, nvram=nvram.put_back)
    choices = expect_choices(
        session, basis.repository, point, vm, matches, all_blocks=request.over.all_blocks, dead=dead is not None
    )
    return replace(
        plan,
        matches=matches,
        choices=choices,
        dead=dead,
        nvram=nvram.put_back,
        warnings=(
            *filter(None, [strange_target(point.vm, vm.identity)]),
            *(f"{match.disk.label}: {match.note}" for match in matches if match.note),
            *nvram.notes,
            *about_undo,
        ),
    )


def _require_a_choice(basis: PlanBasis, vm: VmDescription) -> None:
    if basis.request.on_conflict is OnConflict.PROMPT:
        raise UsageError("on_conflict=prompt needs a person to ask: choose abort, overwrite or keep")
    if basis.request.on_conflict is OnConflict.ABORT:
        there, saved = vm.identity.in_full, basis.point.vm.in_full
        of = "of which the restore point was taken" if there == saved else f"and the restore point was taken of {saved}"
        raise ConflictError(
            f"VM {vm.identity.name} exists: say {named('on_conflict', 'overwrite')} to write over its disks, or give a "
            f"new name with {named('new_name')}. It is {there}, {of}"
        )


def _require_standing_still(vm: VmDescription) -> None:
    if vm.template:
        raise UnsupportedError(
            f"VM {vm.ref} is a template, and no restore writes over a template: convert it to a VM "
            f"first, or restore to a new VM with {named('new_name')}"
        )
    if vm.power is inventory.PowerState.SUSPENDED:
        raise ConflictError(
            f"VM {vm.ref} is suspended, and its memory would not fit the disks of the restore "
            "point: resume it, shut it down, then restore"
        )


def _dead_restore(basis: PlanBasis, vm: VmDescription) -> DeadRestore | None:
    """Return the dead restore that left the VM partly written, if any.

    :raises ConflictError: a backup or another restore may be at work, or the VM is half made.
    """
    # The mark first, because a restore at work may have a snapshot, too, which would look like a backup's.
    dead = dead_or_refused(basis.session, basis.repository, vm.ref, vm.claim, basis.has_ended)
    refuse_beside_a_backup(basis.session, basis.repository, vm.ref, basis.has_ended)
    if dead is not None and dead.made:
        raise ConflictError(
            f"VM {vm.ref} was left half made by run {dead.run}: restore to a new VM of that name, and the "
            "half-made VM is removed first"
        )
    return dead


def refuse_beside_a_backup(session: Session, repository: Repository, vm: VmRef, has_ended: HasEnded) -> None:
    """Return if no backup of a VM is at work.

    :raises ConflictError: a backup of the VM may be at work.
    """
    for snapshot in snapshots.list_ours(session, vm.moref):
        if snapshot_run_is_alive(repository, snapshot, now=session.server_time(), has_ended=has_ended):
            raise ConflictError(
                f"VM {vm.name} is being backed up by run {snapshot.run}: wait for it, or stop it, then restore{IF_DEAD}"
            )
