"""Tells what is at stake when a restore writes over a VM: its power, its last uses, and its last backup."""

from __future__ import annotations

from collections.abc import Iterator

from vmkeep.errors import VmKeepError
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.restore_values import RestorePlan
from vmkeep.model.point import VmIdentity
from vmkeep.model.site import Site
from vmkeep.repository import open_site_repository
from vmkeep.vsphere.inventory import PowerState
from vmkeep.vsphere.last_use import LastUse, read_last_use


def overwritten_lines(site: Site, plan: RestorePlan) -> tuple[str, ...]:
    """Return the present state of the VM that a plan writes over. Whatever cannot be read is said, and stops nothing.

    :returns: no lines if the plan writes over no VM.
    """
    if plan.target is None:
        return ()
    return (*_uses(site, plan.target), _last_backup(site, plan.target))


def _uses(site: Site, vm: VmIdentity) -> Iterator[str]:
    try:
        with open_vsphere(site) as session:
            use = read_last_use(session, vm.moref or "")
    except VmKeepError as error:
        yield f"its state cannot be read: {error}"
        return
    yield from _words(use)


def _words(use: LastUse) -> Iterator[str]:
    if use.booted_at is not None:
        yield f"it is {_STATES[use.power]}, last started on {use.booted_at:%Y-%m-%d %H:%M} UTC"
    else:
        yield f"it is {_STATES[use.power]}, and vSphere does not tell when it was last started"
    if use.changed_at is not None:
        yield f"its configuration was last changed on {use.changed_at:%Y-%m-%d %H:%M} UTC"


_STATES = {PowerState.ON: "running", PowerState.OFF: "off", PowerState.SUSPENDED: "suspended"}


def _last_backup(site: Site, vm: VmIdentity) -> str:
    try:
        with open_site_repository(site) as repository:
            point = repository.latest_point(vm.key)
    except VmKeepError as error:
        return f"its last backup cannot be read: {error}"
    if point is None:
        return "this repository holds NO backup of it: what it holds now cannot be brought back from here"
    return f"its last backup here is {point.ref}, of {point.taken_at:%Y-%m-%d %H:%M} UTC"
