"""The steps that attach disks of a restore point to an existing VM as new disks, in the order a run takes them.

The new disks are made on a carrier: a VM of the run that is always off (:mod:`vmkeep.vsphere.carriers`). They are
written there, and read back. Only then they are attached to their VM, all or none, in one change of its configuration.
Until that change nothing of the VM is touched, so that it may run. Cleaning up a run is that of a restore
(:func:`vmkeep.flows.restore.clean_up`): the carrier is removed with the disks that it still has.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence

from vmkeep.errors import ConflictError, StaleError, UsageError, VmKeepError
from vmkeep.flows import as_planned, attach_moves, vm_access
from vmkeep.flows.attach_choice import chosen_disks, require_taker, wanted_slots
from vmkeep.flows.attach_values import Attached, AttachedAs, AttachPlan, AttachRequest
from vmkeep.flows.attach_warnings import about_the_boot_disk, about_twins
from vmkeep.flows.catalogued import open_with_catalog
from vmkeep.flows.connect import check_driver, open_vsphere
from vmkeep.flows.dead_restores import dead_or_refused
from vmkeep.flows.liveness import HasEnded, nobody_knows
from vmkeep.flows.point_doubts import about_doubts, about_transports
from vmkeep.flows.restore_ledger import Outcome, RunLedger
from vmkeep.flows.restore_values import Target
from vmkeep.model.disk import Disk
from vmkeep.model.job import DiskWrite, WriteJob
from vmkeep.model.overwrite import Verify
from vmkeep.model.point import RestorePoint
from vmkeep.model.site import Site
from vmkeep.model.transport import modes_without_snapshot
from vmkeep.model.vmref import VmRef
from vmkeep.model.wording import size
from vmkeep.repository import Repository, open_site_repository
from vmkeep.vsphere import attaching, carriers, inventory, machines, rightscheck
from vmkeep.vsphere.attaching import WholeDisk
from vmkeep.vsphere.carriers import CarrierPlan
from vmkeep.vsphere.claims import VmClaim
from vmkeep.vsphere.inventory import PowerState, VmDescription
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)

_NAME = 50
"""Number of characters of a VM's name that its carrier has in its own name."""


def plan_attach(site: Site, request: AttachRequest, *, has_ended: HasEnded = nobody_knows) -> AttachPlan:
    """Find the point, its disks, the VM, a slot for each disk and room for it. Changes nothing in vSphere.

    :param has_ended: tells whether the owner of another restore has ended; ``None``: the owner is not known.
    """
    check_driver(site)
    with open_with_catalog(site) as repository, open_vsphere(site) as session:
        point = repository.find_point(request.point)
        if "config.xml" not in point.attachments:
            raise UsageError(f"{point.ref} is of no VM that was backed up: use 'vmkeep image export'")
        disks = chosen_disks(point, request)
        vm = inventory.describe_vm(session, inventory.find_vm(session, request.vm_selector).moref)
        _require_free(session, repository, vm, has_ended)
        wanted = wanted_slots(disks, request)
        slots = attaching.read_slots(session, vm.moref, wanted)
        carrier = _plan_carrier(session, repository, point, request, vm, disks)
        rightscheck.require_for_carrier(
            session, carrier.place, home=carrier.home, datastores=_datastores(carrier), target=vm.moref
        )
        return AttachPlan(
            request=request,
            point=point.ref,
            vm=point.vm,
            vcenter=server_uuid(session),
            target=vm.identity,
            running=vm.running,
            disks=disks,
            wanted=wanted,
            slots=slots,
            carrier=carrier,
            warnings=(
                *about_doubts(repository, point),
                *(note for disk in carrier.disks for note in disk.notes),
                *carrier.space,
                *about_twins(point, disks, vm),
                *about_the_boot_disk(vm.disks, slots),
                *about_transports(request.transports),
            ),
        )


def _require_free(session: Session, repository: Repository, vm: VmDescription, has_ended: HasEnded) -> None:
    """Return if the VM can get a disk, and no restore writes over it."""
    require_taker(vm)
    if (dead := dead_or_refused(session, repository, vm.ref, vm.claim, has_ended)) is not None:
        raise ConflictError(
            f"VM {vm.ref} carries the mark of run {dead.run}, which did not finish a restore of it: restore it again, "
            "or take the mark off with 'vmkeep vm sweep', then attach the disks"
        )


def _plan_carrier(
    session: Session, repository: Repository, point: RestorePoint, request: AttachRequest, vm: VmDescription,
    disks: Sequence[Disk],
) -> CarrierPlan:  # fmt: skip
    token = hashlib.sha256(request.run.encode()).hexdigest()[:8]
    name = f"{vm.identity.name[:_NAME]}-vmkeep-{token}"
    config = repository.load_attachment(point, "config.xml")
    place = carriers.find_place(session, vm.identity, name, request.datastore)
    return carriers.plan_carrier(session, config, disks, place, vmx=vm.vmx, token=token)


def _datastores(carrier: CarrierPlan) -> set[str]:
    return {carriers.datastore_of(disk) for disk in carrier.disks}


def make_carrier(site: Site, plan: AttachPlan) -> Target:
    """Make the carrier with the new, empty disks. The VM that gets them is not touched.

    :raises StaleError: the plan was made for another server.
    :raises ConflictError: the VM takes no disk any more, or not at the planned address.
    """
    run = plan.request.run
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        as_planned.require_same_vcenter(plan.vcenter, server_uuid(session))
        # Once more, because the disks are written for hours before the VM is asked to take them.
        _require_free(session, repository, inventory.describe_vm(session, plan.target.moref or ""), nobody_knows)
        attaching.read_slots(session, plan.target.moref or "", plan.wanted)
        RunLedger(repository, run).begin(plan.request.owner)
        claim = VmClaim(run=run, made=True, began=session.server_time(), repository=repository.id)
        config = repository.load_attachment(repository.load_point(plan.point), "config.xml")
        moref = carriers.make_carrier(session, config, plan.carrier, claim)
        warnings = vm_access.hold(site, session, repository, VmRef(moref=moref, name=plan.carrier.name), run)
        return Target(vm=moref, run=run, created=True, warnings=warnings)


def write_jobs(site: Site, plan: AttachPlan, carrier: Target) -> tuple[WriteJob, ...]:
    """Return one job for each new disk.

    :raises StaleError: the carrier is not as the run has made it any more.
    """
    with open_vsphere(site) as session:
        as_planned.require_same_vcenter(plan.vcenter, server_uuid(session))
        there = carriers.by_saved_key(plan.carrier, _described(session, carrier).disks)
        return tuple(
            WriteJob(
                run=carrier.run,
                point=plan.point,
                device_key=key,
                label=disk.label,
                vm=VmRef(moref=carrier.vm, name=plan.carrier.name),
                vcenter=plan.vcenter,
                target_key=disk.key,
                target_uuid=disk.uuid,
                target_file=disk.file_name,
                capacity=disk.capacity,
                fresh=True,
                verify=Verify.ALL,
                transports=modes_without_snapshot(plan.request.transports),
            )
            for key, disk in there.items()
        )


def hand_on(site: Site, plan: AttachPlan, carrier: Target, writes: Sequence[DiskWrite]) -> Attached:
    """Attach the written disks to their VM, all or none, and remove the carrier.

    :raises ConflictError: not every disk was written, or the VM takes no disk by now.
    :raises StaleError: the run was given up meanwhile.
    """
    run = carrier.run
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        as_planned.require_same_vcenter(plan.vcenter, server_uuid(session))
        whole = whole_disks(plan, _described(session, carrier).disks)
        _require_written(plan, run, writes)
        released = vm_access.release(site, session, repository, carrier.vm, run)
        target = plan.target.moref or ""
        files = tuple(disk.file_name for disk in whole)
        planned = attach_moves.Move(carrier=carrier.vm, vm=target, files=files)
        slots = attach_moves.carry_over(session, repository, run, planned, whole)
        left = _remove(session, repository, carrier)
        return Attached(
            run=run,
            vm=VmRef(moref=target, name=plan.target.name),
            vcenter=plan.vcenter,
            point=plan.point,
            disks=tuple(
                AttachedAs(disk=disk.label, address=slot.address, file_name=new.file_name, capacity=new.capacity)
                for disk, slot, new in zip(plan.disks, slots, whole, strict=True)
            ),
            bytes_written=sum(write.bytes_written for write in writes),
            bytes_compared=sum(write.bytes_compared for write in writes),
            warnings=(*plan.warnings, *carrier.warnings, *released, *left),
        )


def whole_disks(plan: AttachPlan, on_carrier: Iterable[Disk]) -> tuple[WholeDisk, ...]:
    """Return the disks of a carrier as their VM is to get them, in the order of the request.

    :raises ConflictError: the carrier has not the disks that were planned.
    """
    there = carriers.by_saved_key(plan.carrier, on_carrier)
    return tuple(
        WholeDisk(
            file_name=there[disk.key].file_name,
            capacity=disk.capacity,
            mode=disk.mode,
            wanted=wanted,
        )
        for disk, wanted in zip(plan.carrier.disks, plan.wanted, strict=True)
    )


def _described(session: Session, carrier: Target) -> VmDescription:
    """Return the description of the carrier.

    :raises StaleError: it does not carry the run's mark any more, or was switched on.
    """
    vm = inventory.describe_vm(session, carrier.vm)
    if vm.claim is None or vm.claim.run != carrier.run or vm.power is not PowerState.OFF:
        raise StaleError(
            f"VM {vm.ref} is no carrier of run {carrier.run} any more, or was switched on: nothing was attached"
        )
    return vm


def _require_written(plan: AttachPlan, run: str, writes: Sequence[DiskWrite]) -> None:
    written = {write.device_key for write in writes if write.run == run}
    missing = [f"{disk.label} ({size(disk.capacity)})" for disk in plan.disks if disk.key not in written]
    if missing:
        raise ConflictError(f"run {run} has not written {', '.join(missing)}: nothing was attached; start it again")


def _remove(session: Session, repository: Repository, carrier: Target) -> tuple[str, ...]:
    """Remove the carrier, which has no disk any more. Return a warning if it stays."""
    try:
        machines.destroy(session, carrier.vm, run=carrier.run, repository=repository.id, unfinished=False)
    except VmKeepError as error:
        warning = f"the carrier VM {carrier.vm} stays for now, and the sweep removes it: {error}"
        log.warning("%s", warning)
        return (warning,)
    # Only now: until then a clean-up has to find the run open, because it removes the carrier of an open run only.
    try:
        RunLedger(repository, carrier.run).record_outcome(Outcome.HANDED_OVER)
    except VmKeepError as error:
        warning = f"the end of run {carrier.run} could not be noted: {error}"
        log.warning("%s", warning)
        return (warning,)
    return ()
