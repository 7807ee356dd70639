"""The end of a restore: the VM is handed over to its user, and then switched on or made a template.

Up to the hand-over, a restore that fails is cleaned up. From then on the VM belongs to its user, with all its disks.
A later failure takes nothing back, and its message says that the VM is restored. Each step may be tried again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from vmkeep.errors import ConflictError, StaleError, VmKeepError
from vmkeep.flows import as_planned, nvram, vm_access
from vmkeep.flows.block_choice import require_still
from vmkeep.flows.check_values import Checked
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.half_written import left_after, unwarn
from vmkeep.flows.new_labels import apply_labels
from vmkeep.flows.proving import try_to_record
from vmkeep.flows.restore_ledger import Outcome, RunLedger, cleaned_up
from vmkeep.flows.restore_values import Restored, RestorePlan, Target, WrittenDisk
from vmkeep.flows.targets import may_run_here
from vmkeep.flows.write_snapshot import end_writing
from vmkeep.model.job import DiskWrite, to_plain
from vmkeep.model.proofs import ProofKind, ProofResult
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.model.wording import counted, size
from vmkeep.repository import Repository, open_site_repository
from vmkeep.vsphere import claims, inventory, machines
from vmkeep.vsphere.addresses import other_addresses
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)


def hand_over(site: Site, plan: RestorePlan, target: Target, writes: Sequence[DiskWrite]) -> None:
    """Put the NVRAM back, and record that the VM belongs to its user. A second call changes nothing.

    :raises ConflictError: not every disk was written by the run that made the VM ready.
    :raises StaleError: the restore was cleaned up, or the VM is not as planned any more.
    """
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        _hand_over(session, repository, plan, target, writes)


def finish_restore(site: Site, plan: RestorePlan, target: Target, writes: Sequence[DiskWrite]) -> Restored:
    """Hand the VM over, take the mark off, and switch the VM on or make it a template, as planned.

    A call after the restore has finished changes nothing and returns the same result.

    :raises ConflictError: not every disk was written by the run that made the VM ready.
    :raises StaleError: the restore was cleaned up, or the VM is not as planned any more.
    """
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        ledger = RunLedger(repository, target.run)
        if (done := ledger.finished()) is not None:
            log.info("the restore of run %s has finished before; VM %s is not touched", target.run, target.vm)
            return done
        _hand_over(session, repository, plan, target, writes)
        try:
            released = vm_access.release(site, session, repository, target.vm, target.run)
            left = left_after(repository, claims.incomplete_on(session, target.vm), plan, target.run)
            if not left:
                unwarn(session, target.vm)
            claims.let_go(session, target.vm, target.run, incomplete=left)
            powered_on, left_off = _start(session, plan, target)
        except (VmKeepError, KeyboardInterrupt):
            log.error("%s", _done_so_far(plan, target))
            raise
        warnings = (*ledger.told(), *released, *left_off)
        restored = _restored(plan, target, writes, warnings, powered_on=powered_on)
        ledger.finish(restored)
        _prove(repository, plan, restored)
        return restored


def _prove(repository: Repository, plan: RestorePlan, restored: Restored) -> None:
    """Keep with the point that its disks were written to a VM and read back there, if some of them were."""
    compared = sum(disk.bytes_compared for disk in restored.disks)
    if not compared:
        return
    text = (
        f"{counted(restored.disks_written, 'disk')} of VM {restored.vm.name} ({restored.vm.moref}) written by run "
        f"{restored.run}, and {size(compared)} of them read back as the point has them"
    )
    details = {"vm": restored.vm.name, "moref": restored.vm.moref, "disks": to_plain(restored.disks)}
    checked = Checked(kind=ProofKind.TARGET, result=ProofResult.PASSED, text=text, details=details)
    try_to_record(repository, restored.point, checked, by=plan.request.owner, run=restored.run)


def _hand_over(
    session: Session, repository: Repository, plan: RestorePlan, target: Target, writes: Sequence[DiskWrite]
) -> None:
    ledger = RunLedger(repository, target.run)
    as_planned.require_same_vcenter(plan.vcenter, server_uuid(session))
    if ledger.outcome() is Outcome.HANDED_OVER:
        return  # all disks were written before that
    _require_written(plan, target, writes)
    if target.snapshot is None:
        require_still(session, plan, target, writes)
    elif not ledger.has_written():
        require_still(session, plan, target, writes)
        ledger.note_written()  # because ending the snapshot puts other content on the disks, as a disturbance does
    end_writing(session, repository, target)
    ledger.tell(_complete(session, repository, plan, target))
    if ledger.record_outcome(Outcome.HANDED_OVER) is not Outcome.HANDED_OVER:
        raise cleaned_up(target.run)


def _done_so_far(plan: RestorePlan, target: Target) -> str:
    """Say what is done when a last step fails, so that nobody restores the VM once more."""
    left = "is no template yet" if plan.template else "may be off" if plan.power_on else "may still be marked"
    return f"VM {plan.target_name} ({target.vm}) is restored, with all its disks, but {left}: see the error"


def _start(session: Session, plan: RestorePlan, target: Target) -> tuple[bool, tuple[str, ...]]:
    """Make the VM a template, or switch it on, as planned. Return whether it is on, and the warnings."""
    if plan.template:
        machines.mark_as_template(session, target.vm)
        return False, ()
    if not plan.power_on:
        return False, ()
    if machines.power_state(session, target.vm) is inventory.PowerState.OFF and (why := _beside(session, plan, target)):
        warning = (
            f"VM {plan.target_name} is left off, because {why}. It was not running when this restore was planned with "
            "connected network cards: disconnect them, or switch the other VM off, then switch this one on"
        )
        log.warning("%s", warning)
        return False, (warning,)
    _power_on(session, plan, target)
    return True, ()


def _beside(session: Session, plan: RestorePlan, target: Target) -> str | None:
    """Return a sentence if the original runs by now, and the new VM was to be connected only because it did not."""
    if plan.place is None or plan.original_runs or plan.request.new_vm.connect_networks:
        return None
    connected = {label for label, _ in plan.place.networks} - {*plan.place.unconnected}
    return may_run_here(session, plan.vm, besides=target.vm) if connected else None


def _power_on(session: Session, plan: RestorePlan, target: Target) -> None:
    """Switch the VM on, unless another restore has marked it: it belongs to its user, who may restore it again."""
    if (other := claims.claim_on(session, target.vm)) is not None:
        raise StaleError(
            f"VM {plan.target_name} was restored by run {target.run}, and run {other.run} restores it again by now: "
            "it is not switched on"
        )
    machines.power_on(session, target.vm)


def _require_written(plan: RestorePlan, target: Target, writes: Sequence[DiskWrite]) -> None:
    written = {write.device_key for write in writes if write.run == target.run}
    missing = [match.disk for match in plan.matches if match.written and match.disk.key not in written]
    if missing:
        listed = ", ".join(f"{disk.label} ({disk.address})" for disk in missing)
        raise ConflictError(
            f"VM {plan.target_name} stays off: run {target.run} has not written disk {listed}; start a new restore"
        )


def _complete(session: Session, repository: Repository, plan: RestorePlan, target: Target) -> tuple[str, ...]:
    """Put back all that is no disk, and renew the generation id, before the hand-over. Return the warnings."""
    RunLedger(repository, target.run).require_open()
    as_planned.require_ready(plan, target.run, inventory.describe_vm(session, target.vm))
    point = repository.load_point(plan.point)
    warnings = (
        nvram.put_back(session, repository, point, target.vm) if plan.nvram and nvram.NVRAM in point.attachments else ()
    )
    addresses = plan.place.addresses if plan.place is not None else ()
    return (
        *warnings,
        *apply_labels(session, plan, target.vm),
        *_renew_generation(session, plan, target.vm),
        *other_addresses(session, target.vm, addresses),
    )


def _renew_generation(session: Session, plan: RestorePlan, moref: str) -> tuple[str, ...]:
    """Renew the VM's generation id, by which the guest sees that it went back in time. Return a warning if it stays."""
    if machines.renew_generation(session, moref):
        return ()
    warning = (
        f"VM {plan.target_name} keeps its generation id, because vSphere did not take it off: a Windows domain "
        "controller in it does not notice that it was restored. Delete the advanced settings vm.genid and vm.genidX "
        "before its start"
    )
    return (warning,)


def _restored(
    plan: RestorePlan, target: Target, writes: Sequence[DiskWrite], warnings: Sequence[str], *, powered_on: bool
) -> Restored:
    return Restored(
        run=target.run,
        vm=VmRef(moref=target.vm, name=plan.target_name),
        point=plan.point,
        created=target.created,
        powered_on=powered_on,
        disks_written=len(writes),
        bytes_written=sum(write.bytes_written for write in writes),
        bytes_zeroed=sum(write.bytes_zeroed for write in writes),
        disks=tuple(_written(plan, write) for write in writes),
        undo=target.undo,
        warnings=(*plan.warnings, *target.warnings, *warnings),
    )


def _written(plan: RestorePlan, write: DiskWrite) -> WrittenDisk:
    disk = next(match.disk for match in plan.matches if match.disk.key == write.device_key)
    return WrittenDisk(
        label=disk.label,
        address=disk.address,
        blocks=write.blocks,
        why_blocks=write.why_blocks,
        bytes_written=write.bytes_written,
        bytes_zeroed=write.bytes_zeroed,
        bytes_compared=write.bytes_compared,
    )
