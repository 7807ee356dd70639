"""The steps of a restore, in the order a run takes them.

:func:`plan_restore` decides and checks everything; nothing is changed before it has succeeded. A new VM carries the
run's mark until it is finished, so that :func:`clean_up` removes what is half made and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from vmkeep.errors import ConflictError, UsageError
from vmkeep.flows.connect import check_vddk, fence_deadline, open_vsphere, pinned
from vmkeep.flows.hold import is_alive
from vmkeep.flows.matching import match_disks
from vmkeep.flows.targets import find_target, strange_target
from vmkeep.flows.values import (
    DiskMatch,
    OnConflict,
    PhysicalRdm,
    Restored,
    RestorePlan,
    RestoreRequest,
    Target,
)
from vmkeep.model.disk import Disk, SkipReason
from vmkeep.model.job import DiskWrite, Progress, WriteJob
from vmkeep.model.point import RestorePoint
from vmkeep.model.site import Site
from vmkeep.repository import Repository, open_site_repository
from vmkeep.transfer import RunningTransfer, start_write
from vmkeep.vsphere import changes, configspec, create, files, inventory, machines, privileges, snapshots
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)

OVERWRITE_PRIVILEGES = (
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Interact.PowerOn",
    "VirtualMachine.Provisioning.DiskRandomAccess",
    "VirtualMachine.Config.ChangeTracking",
)


def plan_restore(site: Site, request: RestoreRequest) -> RestorePlan:
    """Resolve the point and the target, match every disk, and check rights and places; changes nothing."""
    check_vddk(site)
    if request.vm is not None and request.new_name is not None:
        raise UsageError("a restore goes over an existing VM or to a new one: give a VM or a new name, not both")
    if request.physical_rdm is PhysicalRdm.LUN:
        raise UsageError("restoring a physical RDM onto a LUN is not there yet: choose placeholder or omit")
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        point = repository.find_point(request.point)
        for name in ("config.xml",):
            if name not in point.attachments:
                raise UsageError(f"{point.ref} holds no {name}: it is an imported image; use 'vmkeep image export'")
        if request.new_name is not None:
            xml = repository.load_attachment(point, "config.xml").decode()
            return _plan_new(session, point, request, xml)
        return _plan_over(session, repository, point, request)


def _plan_over(session: Session, repository: Repository, point: RestorePoint, request: RestoreRequest) -> RestorePlan:
    moref = find_target(session, point, request)
    vm = inventory.describe_vm(session, moref)
    if request.on_conflict is OnConflict.PROMPT:
        raise UsageError("on_conflict=prompt needs a person to ask: choose abort, overwrite or keep")
    if request.on_conflict is OnConflict.ABORT:
        raise ConflictError(
            f"{vm.identity.in_full} exists: to write {point.vm.in_full} over its disks, say --on-conflict overwrite; "
            "or give a new name with --new-name (in Airflow, the fields on_conflict and new_name)"
        )
    keep = request.on_conflict is OnConflict.KEEP
    if not keep:
        _refuse_beside_a_backup(session, repository, moref, vm.identity.name)
    matches = () if keep else match_disks(point, vm.disks)
    if not keep:
        privileges.require(session, moref, OVERWRITE_PRIVILEGES)
    strange = filter(None, [None if keep else strange_target(point.vm, vm.identity)])
    return RestorePlan(
        request=request,
        point=point.ref,
        vm=point.vm,
        target=moref,
        target_name=vm.identity.name,
        over=vm.identity,
        matches=matches,
        warnings=(*strange, *(f"{match.disk.label}: {match.note}" for match in matches if match.note)),
        nothing_to_do=keep,
    )


def _refuse_beside_a_backup(session: Session, repository: Repository, vm: str, name: str) -> None:
    for snapshot in snapshots.list_ours(session, vm):
        if is_alive(repository, snapshot, now=session.server_time()):
            raise ConflictError(
                f"VM {name} is being backed up by run {snapshot.run}: wait for it, or stop it, then restore"
            )


def _plan_new(session: Session, point: RestorePoint, request: RestoreRequest, xml: str) -> RestorePlan:
    name = point.vm.name if request.new_name is None else request.new_name
    place = create.resolve_place(session, point.vm, request_place(request), name)
    if place.taken_by is not None:
        if request.on_conflict is OnConflict.KEEP:
            return RestorePlan(request=request, point=point.ref, vm=point.vm, target=place.taken_by, target_name=name,
                               matches=(), nothing_to_do=True)  # fmt: skip
        raise ConflictError(f"a VM named {name} exists in {place.folder_path} ({place.taken_by}): choose another name")
    built = create.plan_vm(session, xml, place, spec_options(request, name))
    matches = tuple(_match_new(disk, request.physical_rdm) for disk in point.disks)
    return RestorePlan(
        request=request,
        point=point.ref,
        vm=point.vm,
        target=None,
        target_name=name,
        matches=matches,
        warnings=(*(f"{match.disk.label}: {match.note}" for match in matches if match.note), *built.notes),
    )


def spec_options(request: RestoreRequest, name: str) -> configspec.SpecOptions:
    """Return how the new VM differs from the saved one."""
    return configspec.SpecOptions(
        name=name, new_identity=request.new_identity, physical_rdm=request.physical_rdm.value, mark=request.run
    )


def request_place(request: RestoreRequest) -> create.PlaceRequest:
    """Return where a new VM is asked to go."""
    return create.PlaceRequest(
        datastore=request.datastore, folder=request.folder, resource_pool=request.resource_pool, host=request.host
    )


def _match_new(disk: Disk, physical: PhysicalRdm) -> DiskMatch:
    if disk.skip is None:
        note = "virtual-mode RDM becomes an ordinary disk" if disk.compatibility_mode == "virtualMode" else ""
        return DiskMatch(disk=disk, target_key=None, written=True, note=note)
    if disk.skip is SkipReason.PHYSICAL_RDM:
        note = "left out" if physical is PhysicalRdm.OMIT else "an empty placeholder disk takes its place"
        return DiskMatch(disk=disk, target_key=None, written=False, note=f"physical RDM, not backed up: {note}")
    return DiskMatch(disk=disk, target_key=None, written=False, note="not in the backup: created empty")


def prepare_target(site: Site, plan: RestorePlan) -> Target:
    """Power the existing VM off and switch its tracking off, or create the new VM from its saved configuration."""
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        repository.run(plan.request.run).sweep()
        if plan.target is not None:
            was_running = machines.power_off(session, plan.target)
            # After a restore the tracked changes mean nothing: with tracking off, the next backup is a full.
            changes.disable_tracking(session, plan.target)
            return Target(vm=plan.target, created=False, was_running=was_running)
        point = repository.load_point(plan.point)
        xml = repository.load_attachment(point, "config.xml").decode()
        place = create.resolve_place(session, point.vm, request_place(plan.request), plan.target_name)
        moref = create.create_vm(session, xml, place, spec_options(plan.request, plan.target_name))
        return Target(vm=moref, created=True)


def write_jobs(site: Site, plan: RestorePlan, target: Target) -> tuple[WriteJob, ...]:
    """Return one job for each disk that is written, with the target disk's current file name."""
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        point = repository.load_point(plan.point)
        now = inventory.describe_vm(session, target.vm).disks
        matches = match_disks(point, now) if not target.created else _match_created(plan, now)
        by_key = {disk.key: disk for disk in now}
        return tuple(
            WriteJob(
                run=plan.request.run,
                point=plan.point,
                device_key=match.disk.key,
                vm=target.vm,
                target_file=by_key[match.target_key].file_name,
                capacity=by_key[match.target_key].capacity,
                fresh=target.created,
                transports=plan.request.transports,
            )
            for match in matches
            if match.written and match.target_key is not None
        )


def _match_created(plan: RestorePlan, now: Sequence[Disk]) -> tuple[DiskMatch, ...]:
    """Find each created disk at the address its original had; the keys are new."""
    by_address = {disk.address: disk for disk in now}
    matches = []
    for match in plan.matches:
        if match.written:
            made = by_address.get(match.disk.address)
            if made is None or made.capacity != match.disk.capacity:
                raise ConflictError(f"the new VM has no disk of {match.disk.capacity} bytes at {match.disk.address}")
            matches.append(DiskMatch(disk=match.disk, target_key=made.key, written=True))
    return tuple(matches)


def write_disk(site: Site, job: WriteJob, *, on_progress: Callable[[Progress], None]) -> RunningTransfer[DiskWrite]:
    """Start writing one disk in a child process."""
    with open_vsphere(site) as session:
        child_site = pinned(site, session)
    return start_write(child_site, job, on_progress=on_progress)


def finish_restore(site: Site, plan: RestorePlan, target: Target, writes: Sequence[DiskWrite]) -> Restored:
    """Put the NVRAM back, take the run's mark off a new VM, and power on if asked; refuses while a disk is missing."""
    wanted = sorted(match.disk.key for match in plan.matches if match.written)
    if sorted(write.device_key for write in writes) != wanted:
        raise ConflictError(f"VM {plan.target_name}: not every disk was written; it stays powered off")
    warnings = list(plan.warnings)
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        point = repository.load_point(plan.point)
        if "vm.nvram" in point.attachments:
            files.put_nvram(session, target.vm, repository.load_attachment(point, "vm.nvram"))
        if target.created:
            machines.clear_mark(session, target.vm)
        power_on = plan.request.power_on
        if power_on:
            machines.power_on(session, target.vm)
    return Restored(
        vm=target.vm,
        vm_name=plan.target_name,
        point=plan.point,
        created=target.created,
        powered_on=power_on,
        disks_written=len(writes),
        bytes_written=sum(write.bytes_written for write in writes),
        bytes_zeroed=sum(write.bytes_zeroed for write in writes),
        warnings=tuple(warnings),
    )


def clean_up(site: Site, run: str) -> int:
    """Destroy the VMs that this run created and did not finish; return how many. Fences the run's writers first."""
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        area = repository.run(run)
        area.fence()
        area.await_copies(fence_deadline(run))
        return machines.destroy_marked(session, run)
