"""Makes the plan of a restore: point, target, place and disks, decided and checked. vSphere is only read.

A person is shown the plan and may have to approve it. All later steps carry out this plan, after comparing it with
vSphere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from vmkeep.errors import ConflictError, UnsupportedError, UsageError
from vmkeep.flows.block_choice import expect_choices
from vmkeep.flows.connect import check_driver, open_vsphere
from vmkeep.flows.disk_targets import read_targets
from vmkeep.flows.matching import match_disks
from vmkeep.flows.nvram import Nvram, in_new, over_existing
from vmkeep.flows.other_restores import HasEnded, dead_or_refused, nobody_knows
from vmkeep.flows.restore_ledger import PlanLedger
from vmkeep.flows.restore_mapping import GivenMapping
from vmkeep.flows.restore_saved import (
    SavedVm,
    load_saved,
    rdms_asked,
    refuse_for_existing,
    refuse_for_new,
    request_place,
    require_vm,
    spec_options,
)
from vmkeep.flows.targets import find_target, may_run_here, still_here, strange_target
from vmkeep.flows.undo_snapshot import require_undoable
from vmkeep.flows.values import DeadRestore, DiskMatch, OnConflict, PhysicalRdm, RestorePlan, RestoreRequest
from vmkeep.flows.vm_snapshot import IF_DEAD, snapshot_run_is_alive
from vmkeep.model.disk import Disk
from vmkeep.model.overwrite import BlockChoice
from vmkeep.model.point import RestorePoint
from vmkeep.model.site import Site
from vmkeep.model.transport import TransportMode, modes_for_writing
from vmkeep.model.vmref import VmRef
from vmkeep.repository import Repository, open_site_repository
from vmkeep.vsphere import configspec, create, inventory, rightscheck, snapshots
from vmkeep.vsphere.names import require_usable_name
from vmkeep.vsphere.rights import Purpose
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session

_NO_TEMPLATES = (
    "the saved VM was a template, and the new one is an ordinary VM that is left off, because an ESXi host without "
    "vCenter knows no templates"
)
_SOME_DISKS = (
    "only the chosen disks go back in time; the other disks, and the NVRAM, stay as they are now: see that what is on "
    "them still fits together"
)
_NVRAM_STAYS = Nvram(put_back=False, notes=(_SOME_DISKS,))
"""The NVRAM belongs to the VM as a whole, so that a restore of some disks leaves it as it is."""


def plan_restore(site: Site, request: RestoreRequest, *, has_ended: HasEnded = nobody_knows) -> RestorePlan:
    """Find the point and the target, match every disk, and check rights and places. Changes nothing in vSphere.

    :param has_ended: tells whether the owner of another restore has ended; ``None``: the owner is not known.
    """
    mapping = GivenMapping(request.mapping) if request.mapping else None
    if mapping is not None:
        request = mapping.joined(request)
    if request.vm_selector is not None and request.new_name is not None:
        raise UsageError("a restore goes over an existing VM or to a new one: give a VM or a new name, not both")
    if request.new_name is not None:
        require_usable_name(request.new_name)
        refuse_for_new(request)
    else:
        refuse_for_existing(request)
    check_driver(site)
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        point = repository.find_point(request.point)
        require_vm(point)
        if request.new_name is not None:
            plan = _plan_new(session, repository, point, request, has_ended, mapping)
        else:
            plan = _plan_over(session, repository, point, request, has_ended)
        if not plan.nothing_to_do:
            plan = replace(
                plan,
                warnings=(*about_doubts(repository, point), *plan.warnings, *about_transports(request.transports)),
            )
            if not request.dry_run:
                PlanLedger(repository, plan).note_plan()
        return plan


def _plan_over(
    session: Session, repository: Repository, point: RestorePoint, request: RestoreRequest, has_ended: HasEnded
) -> RestorePlan:
    moref = find_target(session, point, request)
    vm = inventory.describe_vm(session, moref)
    if request.on_conflict is OnConflict.PROMPT:
        raise UsageError("on_conflict=prompt needs a person to ask: choose abort, overwrite or keep")
    if request.on_conflict is OnConflict.ABORT:
        raise ConflictError(
            f"{vm.identity.in_full} exists: to write the disks of {point.vm.in_full} over its disks, say --on-conflict "
            "overwrite; or give a new name with --new-name (in Airflow, the fields on_conflict and new_name)"
        )
    keep = request.on_conflict is OnConflict.KEEP
    wanted = read_targets(request, point, vm.disks)
    dead, nvram = None, Nvram()
    matches: tuple[DiskMatch, ...] = ()
    choices: tuple[BlockChoice, ...] = ()
    undo: tuple[str, ...] = ()
    if not keep:
        if vm.template:
            raise UnsupportedError(
                f"VM {vm.ref} is a template, and no restore writes over a template: convert it to a VM "
                "first, or restore to a new VM with --new-name (in Airflow, the field new_name)"
            )
        if vm.power is inventory.PowerState.SUSPENDED:
            raise ConflictError(
                f"VM {vm.ref} is suspended, and its memory would not fit the disks of the restore "
                "point: resume it, shut it down, then restore"
            )
        nvram = _NVRAM_STAYS if wanted.chosen is not None else over_existing(session, repository, point, moref)
        refuse_beside_a_backup(session, repository, vm.ref, has_ended)
        dead = dead_or_refused(session, repository, vm.ref, vm.mark, has_ended)
        if dead is not None and dead.made:
            raise ConflictError(
                f"VM {vm.ref} was left half made by run {dead.run}: restore to a new VM of that name, and the "
                "half-made VM is removed first"
            )
        rightscheck.require_on_vm(session, Purpose.RESTORE_OVER, vm)
        matches = match_disks(point, vm.disks, wanted)
        undo = require_undoable(session, request, vm, matches, nvram=nvram.put_back)
        choices = expect_choices(
            session, repository, point, vm, matches, all_blocks=request.all_blocks, dead=dead is not None
        )
    strange = filter(None, [None if keep else strange_target(point.vm, vm.identity)])
    return RestorePlan(
        request=request,
        point=point.ref,
        vm=point.vm,
        vcenter=server_uuid(session),
        target=vm.identity,
        target_disks=vm.disks,
        target_name=vm.identity.name,
        matches=matches,
        choices=choices,
        dead=dead,
        power_on=_powers_on(request, point),
        nvram=nvram.put_back,
        warnings=(
            *strange,
            *(f"{match.disk.label}: {match.note}" for match in matches if match.note),
            *nvram.notes,
            *undo,
        ),
        nothing_to_do=keep,
    )


def refuse_beside_a_backup(session: Session, repository: Repository, vm: VmRef, has_ended: HasEnded) -> None:
    """Return if no backup of a VM is at work.

    :raises ConflictError: a backup of the VM may be at work.
    """
    for snapshot in snapshots.list_ours(session, vm.moref):
        if snapshot_run_is_alive(repository, snapshot, now=session.server_time(), has_ended=has_ended):
            raise ConflictError(
                f"VM {vm.name} is being backed up by run {snapshot.run}: wait for it, or stop it, then restore{IF_DEAD}"
            )


def _plan_new(
    session: Session,
    repository: Repository,
    point: RestorePoint,
    request: RestoreRequest,
    has_ended: HasEnded,
    mapping: GivenMapping | None,
) -> RestorePlan:
    name = point.vm.name if request.new_name is None else request.new_name
    saved = load_saved(repository, point)
    if mapping is not None:
        request = mapping.with_parts(request, saved)
    place = create.resolve_place(
        session, point.vm, request_place(request, saved), name, references=saved.origin.references
    )
    dead = None
    if place.taken_by is not None:
        taken = _taken(session, place)
        if taken.mark is None and request.on_conflict is OnConflict.KEEP:
            return RestorePlan(
                request=request,
                point=point.ref,
                vm=point.vm,
                vcenter=server_uuid(session),
                target=taken.identity,
                target_name=name,
                matches=(),
                nothing_to_do=True,
            )
        dead = _half_made(session, repository, taken, has_ended)
        if dead is None:
            raise ConflictError(
                f"a VM named {name} exists in {place.folder_path} ({place.taken_by}): choose another name"
            )
    beside = may_run_here(session, point.vm)
    options = spec_options(request, saved, name, connect=beside is None or request.connect_networks)
    place, built = create.choose_host(session, saved.config, place, options)
    template = built.template and session.is_vcenter
    if template and request.power_on:
        raise UsageError(f"{point.ref} is of a template, which vSphere never switches on: restore it without power-on")
    nvram = in_new(repository, point, built)
    rdms = rdms_asked(request, point.disks)
    matches = tuple(
        _match_new(disk, rdms.get(disk.key, request.physical_rdm), dict(built.luns)) for disk in point.disks
    )
    cleared = (f"VM {name} ({dead.vm}), left half made by run {dead.run}, is removed first",) if dead else ()
    return RestorePlan(
        request=request,
        point=point.ref,
        vm=point.vm,
        vcenter=server_uuid(session),
        target=None,
        target_name=name,
        place=create.settle(place, built),
        original_runs=beside is not None,
        matches=matches,
        dead=dead,
        power_on=not template and _powers_on(request, point),
        template=template,
        nvram=nvram.put_back,
        warnings=(
            *cleared,
            *_about_the_original(place, built, point, beside),
            *_about_the_identity(session, request, point),
            *saved.notes,
            *_policies(saved),
            *_attributes(saved),
            *place.notes,
            *built.notes,
            *((_NO_TEMPLATES,) if built.template and not template else ()),
            *nvram.notes,
        ),
    )


def about_doubts(repository: Repository, point: RestorePoint) -> Iterator[str]:
    """Warn of a point that has lost something, or that may not be what the VM had on its disks."""
    damage = repository.marks.damage_of(point.ref)
    if damage is not None:
        lost = ", ".join(part.name for part in damage.lost) or "what is lost is not known"
        yield (
            f"{point.ref} is marked damaged ({lost}): {damage.reason}; choose a point that is not, if there is one, "
            "because the restore fails at the first block that is lost"
        )
    doubt = repository.marks.suspicion_of(point.ref)
    if doubt is not None:
        disks = ", ".join(doubt.disks) or "every disk"
        yield f"{point.ref} is marked suspect ({disks}): {doubt.reason}; choose a point that is not, if there is one"


def about_transports(asked: tuple[TransportMode, ...]) -> tuple[str, ...]:
    """Warn of the transport modes by which a restore cannot write."""
    left = modes_for_writing(asked)
    dropped = [name for name in asked if name not in left]
    if not dropped:
        return ()
    modes = f"by {' or '.join(left)}, not by {' or '.join(dropped)}"
    return (f"the disks are written {modes}: for that VDDK wants a snapshot of the VM, and a restore finds none",)


def _attributes(saved: SavedVm) -> Iterator[str]:
    """Warn of custom attributes that the new VM does not get."""
    if attributes := saved.origin.references.attributes:
        named = ", ".join(f"'{name}' = '{value}'" for name, value in attributes)
        yield f"custom attributes are not set, set them in vCenter: {named}"


def _policies(saved: SavedVm) -> Iterator[str]:
    """Warn of storage policies that the new VM does not get."""
    labels: dict[int | None, str] = {None: "the VM", **{disk.key: disk.label for disk in saved.point.disks}}
    policies = saved.origin.references.policies
    if policies:
        named = ", ".join(
            f"'{policy.name}' ({policy.id}) of {labels.get(policy.disk, f'disk {policy.disk}')}" for policy in policies
        )
        yield f"storage policies are not applied, assign them in vCenter: {named}"


def _about_the_original(
    place: create.Place, built: configspec.BuiltSpec, point: RestorePoint, beside: str | None
) -> tuple[str, ...]:
    """Say why the network cards are connected or not, if the original may run."""
    connected = {label for label, _ in built.networks} - {*built.unconnected}
    if beside is not None and built.held_back:
        until = "connect them in vCenter when it is off, or say --connect-networks (in Airflow, connect_networks)"
        return (f"the network cards start disconnected, because {beside}: {until}",)
    if beside is not None and connected:
        return (f"the network cards are connected as asked, though {beside}",)
    if connected and not place.same_vcenter:
        return (f"the network cards are connected: whether {point.vm.in_full} still runs is not known here",)
    return ()


def _about_the_identity(session: Session, request: RestoreRequest, point: RestorePoint) -> Iterator[str]:
    """Warn if the new VM would have the UUIDs and MAC addresses of a VM that is still there."""
    if request.keep_identity and (there := still_here(session, point.vm)) is not None:
        yield (
            f"the new VM has the UUIDs and MAC addresses of {there}, which is still there: for a copy, leave out "
            "--keep-identity (in Airflow and in a mapping, keep_identity)"
        )


def _taken(session: Session, place: create.Place) -> inventory.VmDescription:
    """Return the description of the VM that has the new VM's name already.

    :raises ConflictError: its configuration cannot be read, so that nobody can tell what it is.
    """
    try:
        return inventory.describe_vm(session, place.taken_by or "")
    except UnsupportedError as error:
        raise ConflictError(
            f"a VM named {place.name} exists in {place.folder_path} ({place.taken_by}), and its configuration cannot "
            f"be read: choose another name ({error})"
        ) from None


def _half_made(
    session: Session, repository: Repository, vm: inventory.VmDescription, has_ended: HasEnded
) -> DeadRestore | None:
    """Return the dead restore that left a VM half made; ``None``: the VM is not half made.

    :raises ConflictError: the restore may still be at work.
    """
    if vm.mark is None or not vm.mark.made:
        return None
    return dead_or_refused(session, repository, vm.ref, vm.mark, has_ended)


def _powers_on(request: RestoreRequest, point: RestorePoint) -> bool:
    return point.was_running if request.power_on is None else request.power_on


def _match_new(disk: Disk, physical: PhysicalRdm, luns: Mapping[str, str]) -> DiskMatch:
    if disk.physical_rdm:
        return _match_rdm(disk, physical, luns.get(disk.address))
    if disk.skip is None:
        note = "virtual-mode RDM becomes an ordinary disk" if disk.compatibility_mode == "virtualMode" else ""
        return DiskMatch(disk=disk, target_key=None, written=True, note=note)
    return DiskMatch(disk=disk, target_key=None, written=False, note="not in the backup: created empty")


def _match_rdm(disk: Disk, physical: PhysicalRdm, lun: str | None) -> DiskMatch:
    """Match a physical RDM with its replacement. Its content is in the point only if it was read from the LUN."""
    copied = disk.skip is None
    what = "content in the backup" if copied else "not backed up"
    written = copied and physical is PhysicalRdm.DISK and lun is None
    if lun is not None:
        note = f"mapped to LUN {lun}, on which nothing is written"
    elif physical is PhysicalRdm.DISK:
        note = "an ordinary disk takes its place" + ("" if copied else ", empty")
    elif physical is PhysicalRdm.OMIT:
        note = "left out"
    else:
        note = "an empty placeholder disk takes its place" + (
            "; --physical-rdm disk (physical_rdm) would write it to an ordinary disk" if copied else ""
        )
    return DiskMatch(disk=disk, target_key=None, written=written, note=f"physical RDM, {what}: {note}")
