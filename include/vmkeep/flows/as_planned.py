"""Compares a restore's plan with the state of vSphere now, so that a step stops where something changed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vmkeep.errors import StaleError
from vmkeep.flows.restore_values import RestorePlan
from vmkeep.model.disk import Disk
from vmkeep.model.job import WriteJob
from vmkeep.model.point import VmIdentity
from vmkeep.model.wording import exact_size
from vmkeep.vsphere.inventory import PowerState, VmDescription


def require_same_vcenter(planned: str | None, now: str | None) -> None:
    """Return if the plan was made for this vCenter.

    :param planned: instance UUID of the plan's vCenter; ``None``: an ESXi host.
    :param now: the same of the server that is connected now.
    :raises StaleError: the plan was made for another server.
    """
    if planned != now:
        raise StaleError(
            f"this restore was planned for vCenter {planned or 'none'}, but this is {now or 'an ESXi host'}: "
            "nothing was touched"
        )


def require_as_shown(plan: RestorePlan, now: VmDescription) -> None:
    """Return if the VM to write over is the one that the plan showed, with the disks that it showed.

    :raises StaleError: the VM or a disk differs; the message lists every difference.
    """
    assert plan.target is not None
    _refuse(plan, (*_other_vm(plan.target, now.identity), *_other_names(plan.target, now.identity), *_disks(plan, now)))


def require_ready(plan: RestorePlan, run: str, now: VmDescription) -> None:
    """Return if the VM is the one that this run made ready, still off, and has the disks that were planned.

    :raises StaleError: the VM or a disk differs; the message lists every difference.
    """
    found = list(_not_ready(run, now))
    if plan.target is not None:
        found += [*_other_vm(plan.target, now.identity), *_disks(plan, now)]
    _refuse(plan, found)


def require_ready_disk(job: WriteJob, now: VmDescription) -> None:
    """Return if the VM is the one that this job's run made ready, still off, and has the disk that the job names.

    :raises StaleError: the VM or the disk differs; the message lists every difference.
    """
    found = list(_not_ready(job.run, now))
    disk = next((disk for disk in now.disks if disk.key == job.target_key), None)
    if disk is None:
        found.append(f"disk {job.target_key} is gone")
    elif (disk.uuid, disk.capacity, disk.file_name) != (job.target_uuid, job.capacity, job.target_file):
        found.append(
            f"disk {disk.address} is {disk.file_name} (UUID {disk.uuid}, {exact_size(disk.capacity)}), "
            f"not {job.target_file} (UUID {job.target_uuid}, {exact_size(job.capacity)})"
        )
    if found:
        raise _stale(now.identity.name, found)


def _refuse(plan: RestorePlan, differences: Iterable[str]) -> None:
    if found := list(differences):
        raise _stale(plan.target_name, found)


def _stale(name: str, differences: list[str]) -> StaleError:
    return StaleError(f"VM {name} is not as planned any more, nothing was touched: {'; '.join(differences)}")


def _not_ready(run: str, now: VmDescription) -> Iterator[str]:
    if now.claim is None:
        yield f"run {run} has let it go: that restore has finished, or was cleaned up"
    elif now.claim.run != run:
        yield f"run {now.claim.run} restores it now, not run {run}"
    if now.power is not PowerState.OFF:
        yield "it was switched on"


def _other_vm(planned: VmIdentity, now: VmIdentity) -> Iterator[str]:
    for what, before, after in (
        ("vCenter", planned.vcenter, now.vcenter),
        ("id", planned.moref, now.moref),
        ("instance UUID", planned.instance_uuid, now.instance_uuid),
        ("BIOS UUID", planned.bios_uuid, now.bios_uuid),
    ):
        if before != after:
            yield f"its {what} is {after}, not {before}"


def _other_names(planned: VmIdentity, now: VmIdentity) -> Iterator[str]:
    if planned.name != now.name:
        yield f"its name is {now.name}, not {planned.name}"
    elif planned.inventory_path != now.inventory_path:
        yield f"it is at {now.inventory_path}, not at {planned.inventory_path}"


def _disks(plan: RestorePlan, now: VmDescription) -> Iterator[str]:
    before = {disk.key: disk for disk in plan.target_disks}
    after = {disk.key: disk for disk in now.disks}
    for key in sorted(before.keys() | after.keys()):
        planned, found = before.get(key), after.get(key)
        if planned is None:
            assert found is not None
            yield f"disk {found.label} ({found.address}) was added"
        elif found is None:
            yield f"disk {planned.label} ({planned.address}) is gone"
        elif _kind_of(planned) != _kind_of(found):
            yield f"disk {planned.label} is {_shown(found)}, not {_shown(planned)}"


def _kind_of(disk: Disk) -> tuple[object, ...]:
    """Return the properties that identify a disk. The file's name is none of them: every snapshot changes it."""
    return disk.address, disk.capacity, disk.uuid, disk.lun_uuid, disk.compatibility_mode, disk.disk_mode


def _shown(disk: Disk) -> str:
    return f"{disk.address}, {exact_size(disk.capacity)}, UUID {disk.uuid}, {disk.disk_mode}"
