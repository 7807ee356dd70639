"""Creates a VM from its saved configuration, fitted to its place, and sets its boot order."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from vmkeep.errors import ConflictError, StaleError
from vmkeep.model.place import SettledPlace
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.claims import VmClaim, claim_on, list_claimed
from vmkeep.vsphere.configspec import SpecOptions, parse_config
from vmkeep.vsphere.disks import disks_of
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.fitting import choose_host, plan_vm, settle
from vmkeep.vsphere.places import Place, PlaceRequest, reopen_place, resolve_place
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.tasks import run_task

__all__ = [
    "Place", "PlaceRequest", "choose_host", "create_vm", "make_vm", "plan_vm", "reopen_place", "resolve_place",
    "settle",
]  # fmt: skip

log = logging.getLogger(__name__)

CREATE_SECONDS = 1800.0
"""Seconds for the task, because vSphere writes eager-zeroed disks in full before it ends."""
FORGOTTEN_SECONDS = 900.0
"""Seconds to look for the VM if its vCenter was restarted while the VM was made."""


def create_vm(
    session: Session,
    config_xml: str | bytes,
    place: Place,
    options: SpecOptions,
    *,
    settled: SettledPlace | None = None,
) -> str:
    """Create the VM, powered off and with change tracking off. Return its managed object id.

    A second call by the same run finds the VM of the first call and returns it.

    :param settled: the place that was planned, with the place of every part.
    :raises ConflictError: the name is taken in that folder.
    :raises StaleError: the VM, or a part of it, would not go to the planned place. Nothing was made.
    """
    saved = parse_config(config_xml)
    if place.taken_by is not None and not _is_of(session, place.taken_by, options.claim):
        raise ConflictError(f"a VM named {options.name} exists in {place.folder_path} ({place.taken_by})")
    made = place.taken_by
    if made is None:
        place, built = choose_host(session, config_xml, place, options)
        if settled is not None and (found := "; ".join(settled.differences(settle(place, built)))):
            raise StaleError(f"VM {options.name} would not go where it was planned to, nothing was made: {found}")
        for note in built.notes:
            log.info("VM %s: %s", options.name, note)
        made = make_vm(session, built.spec, place, options)
    if saved.bootOptions is not None and saved.bootOptions.bootOrder:
        _set_boot_order(session, made, saved)
    return made


def _is_of(session: Session, moref: str, claim: VmClaim | None) -> bool:
    found = claim_on(session, moref)
    return claim is not None and found is not None and found.made and found.is_of(claim.run, claim.repository)


def make_vm(session: Session, spec: Any, place: Place, options: SpecOptions) -> str:
    """Create a VM of a finished spec. Return its managed object id.

    A forgotten task is not started again, because its VM may still appear beside a second one.

    :param options: the name and the mark in the spec, by which the VM is found again.
    """
    folder = session.managed(vim.Folder, place.folder)
    pool = session.managed(vim.ResourcePool, place.pool)
    host = None if place.by_vsphere else session.managed(vim.HostSystem, place.host)
    what = f"create VM {options.name} in {place.folder_path}"
    with speaking(what):
        made = run_task(
            session,
            lambda: folder.CreateVM_Task(spec, pool, host),
            what=what,
            timeout=CREATE_SECONDS,
            look=lambda: _made(session, folder, options),
            again=False,
            settle=FORGOTTEN_SECONDS,
            result=True,
        )
    return moref_of(made)


def _made(session: Session, folder: Any, options: SpecOptions) -> Any:
    """Return the VM that the run has made in a folder. One that a restarted vCenter put elsewhere does not count."""
    for found in list_claimed(session):
        claim, there = options.claim, found.claim
        if claim is not None and there.made and there.is_of(claim.run, claim.repository):
            vm = session.vm(found.vm.moref)
            if found.vm.name == options.name and read(session, vm, "parent")["parent"] == folder:
                return vm
    return None


def _set_boot_order(session: Session, moref: str, saved: Any) -> None:
    """Set the saved boot order with the new device keys: disks by address, network cards by their order."""
    now = read(session, session.vm(moref), "config.hardware.device")["config.hardware.device"]
    keys = _new_keys(saved.hardware.device, now)
    order = [item for item in saved.bootOptions.bootOrder if getattr(item, "deviceKey", None) in (None, *keys)]
    for item in order:
        if getattr(item, "deviceKey", None) is not None:
            item.deviceKey = keys[item.deviceKey]
    what = f"set the boot order of VM {moref}"
    spec = vim.vm.ConfigSpec(bootOptions=vim.vm.BootOptions(bootOrder=order))
    with speaking(what):
        # Setting the same order twice does no harm, so that a forgotten task is simply started again.
        run_task(
            session,
            lambda: session.vm(moref).ReconfigVM_Task(spec),
            what=what,
            timeout=CREATE_SECONDS,
            look=lambda: None,
            settle=0.0,
        )


def _new_keys(saved: Iterable[Any], now: Iterable[Any]) -> dict[int, int]:
    saved, now = list(saved), list(now)
    here = {disk.address: disk.key for disk in disks_of(now)}
    keys = {disk.key: here[disk.address] for disk in disks_of(saved) if disk.address in here}
    cards = (sorted(d.key for d in group if isinstance(d, vim.vm.device.VirtualEthernetCard)) for group in (saved, now))
    keys.update(zip(*cards, strict=False))
    return keys
