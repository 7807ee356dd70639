"""Finds the existing VM that a restore writes over: the named VM, or else the original VM and no other.

A name never identifies the original, because another VM may have it by now, and in another vCenter any VM may.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from vmkeep.errors import AmbiguousError, NotFoundError, PermissionDeniedError, UnsupportedError
from vmkeep.flows.restore_request import RestoreRequest
from vmkeep.model.fieldwords import named
from vmkeep.model.point import RestorePoint, VmIdentity
from vmkeep.vsphere import inventory
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session

_CHOICES = f"name the VM to write over with {named('vm')}, or create a new one with {named('new_name')}"


def find_target(session: Session, point: RestorePoint, request: RestoreRequest) -> str:
    """Return the managed object id of the VM to write over.

    :raises NotFoundError: the named VM does not exist; or no VM is named, and the original is not here.
    :raises UnsupportedError: the original is here, and its configuration cannot be read.
    :raises AmbiguousError: several VMs fit.
    """
    if request.vm_selector is not None:
        return inventory.find_vm(session, request.vm_selector).moref
    return _find_original(session, point)


def _find_original(session: Session, point: RestorePoint) -> str:
    original = point.vm
    if original.instance_uuid is None or original.vcenter is None:
        raise NotFoundError(f"{point.ref} does not name the VM that it was taken of: {_CHOICES}")
    here = server_uuid(session)
    if here != original.vcenter:
        raise NotFoundError(
            f"the original, {original.in_full}, is not here: this is vCenter {session.host} "
            f"({here or 'UUID unknown'}); {_CHOICES}"
        )
    found = inventory.find_originals(session, original.instance_uuid)
    same = [vm.moref for vm in found if vm.moref == original.moref] or [vm.moref for vm in found]
    if not same:
        _refuse_unreadable(session, original)
        raise NotFoundError(f"the original, {original.in_full}, is not there any more: {_CHOICES}")
    if len(same) > 1:
        raise AmbiguousError(
            f"the original, {original.in_full}, is gone, and {len(same)} VMs have its instance UUID "
            f"({', '.join(same)}): {_CHOICES}"
        )
    return same[0]


def may_run_here(session: Session, original: VmIdentity, *, besides: str | None = None) -> str | None:
    """Return a sentence if the original VM, or a copy with its instance UUID, runs or may run in this vCenter.

    A managed object id identifies the VM only in the vCenter that gave it out. A name identifies nothing.

    :param besides: managed object id of a VM that does not count.
    """
    try:
        here = [vm for vm in _here(session, original) if vm.moref != besides]
        running = [vm for vm in here if vm.power_state is inventory.PowerState.ON]
        return f"{inventory.identity_of(session, running[0]).in_full} is running" if running else None
    except PermissionDeniedError as error:
        return f"{original.in_full} may be running: {error}"


def still_here(session: Session, original: VmIdentity) -> str | None:
    """Return the original VM, or a copy with its instance UUID, in words, if one is in this vCenter."""
    try:
        return next((inventory.identity_of(session, vm).in_full for vm in _here(session, original)), None)
    except PermissionDeniedError:
        return None


def _here(session: Session, original: VmIdentity) -> Iterator[inventory.VmRecord]:
    if original.instance_uuid:
        yield from inventory.find_originals(session, original.instance_uuid)
    if original.moref is not None and original.vcenter is not None and original.vcenter == server_uuid(session):
        with contextlib.suppress(NotFoundError):
            yield inventory.find_by_id(session, original.moref)


def _refuse_unreadable(session: Session, original: VmIdentity) -> None:
    """Return if no VM with the original's id is there.

    A VM whose configuration cannot be read has no UUID to find it by, so that only its id tells of it.

    :raises UnsupportedError: the original is there, but its configuration cannot be read.
    """
    if original.moref is None:
        return
    try:
        there = inventory.find_by_id(session, original.moref)
    except NotFoundError:
        return
    if there.instance_uuid is None and there.not_protectable is not None:
        raise UnsupportedError(f"the original, {original.in_full}, cannot be written over: {there.not_protectable}")


def strange_target(original: VmIdentity, target: VmIdentity) -> str | None:
    """Return a warning if a restore writes over another VM than the original; else ``None``."""
    if (original.vcenter, original.instance_uuid) != (target.vcenter, target.instance_uuid):
        return f"another VM is written over: the point was taken of {original.in_full}; it goes onto {target.in_full}"
    if original.moref != target.moref:
        return f"the VM was registered anew since it was backed up as {original.moref}: it goes onto {target.in_full}"
    return None
