"""Attaches whole disks, which no VM has, to a VM, in one change of its configuration.

A run first *announces* the change by a setting of the VM. The change itself takes the setting away, and is refused if
anybody has changed the VM since the run looked at it. So whoever withdraws the announcement of a dead run knows that
its disks cannot be attached any more, even if a process of that run should wake up later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vmkeep.errors import ConflictError, StaleError, TransientError, UnsupportedError, VSphereError
from vmkeep.lateclass import dataclass
from vmkeep.vsphere import protection
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.claims import parse_claim
from vmkeep.vsphere.describe import PowerState
from vmkeep.vsphere.disks import files_of_backing
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import read, read_all
from vmkeep.vsphere.protection import no_configuration, require_configuration
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.slots import Slot, SlotRequest, choose_slots, new_controllers, takes_devices_hot
from vmkeep.vsphere.tasks import run_task
from vmkeep.vsphere.vmsettings import are_set, change_settings, options_for, values_by_key

SETTING = "vmkeep.attaching."
"""Beginning of the setting by which a run announces that it attaches disks. Each run has one of its own."""
_SECONDS = 300.0
_TRIES = 10
"""Number of attempts, because a running guest may change its VM's settings between look and change."""
_PATHS = (
    "config.extraConfig", "config.changeVersion", "config.hardware.device", "config.version", "config.template",
    "runtime.powerState", "runtime.connectionState",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeDisk:
    """A disk that is written and that no VM has, with the slot that it is to get."""

    file_name: str
    capacity: int
    mode: str
    """vSphere's mode, e.g. ``persistent``."""
    wanted: SlotRequest


def read_slots(session: Session, moref: str, requests: Sequence[SlotRequest]) -> tuple[Slot, ...]:
    """Return the slots that disks would get on a VM as it is now. Changes nothing."""
    with speaking(f"look at the controllers of VM {moref}"):
        values = read(session, session.vm(moref), *_PATHS)
    return _slots(values, requests)


def announce(session: Session, moref: str, run: str) -> None:
    """Announce on a VM that a run attaches disks to it."""
    _set(session, moref, {_key(run): run}, f"announce on VM {moref} the disks of run {run}")


def withdraw(session: Session, moref: str, run: str) -> bool:
    """Take a run's announcement off a VM. Return whether it was there. The run can attach nothing to the VM after that.

    :raises UnsupportedError: the VM's configuration cannot be read.
    :raises VSphereError: the announcement is still there.
    """
    what = f"take back what run {run} announced on VM {moref}"
    with speaking(what):
        values = read(session, session.vm(moref), "config.extraConfig", *protection.PATHS)
    require_configuration(values["config.version"], moref, values["runtime.connectionState"])
    if not values_by_key(values["config.extraConfig"]).get(_key(run)):
        return False
    _set(session, moref, {_key(run): ""}, what)
    return True


def attach(session: Session, moref: str, run: str, disks: Sequence[WholeDisk]) -> tuple[Slot, ...]:
    """Attach disks to a VM, all or none, and take away the announcement. Return their slots.

    The VM may run. Its slots are looked for again, because the VM may have changed since they were planned.

    :raises StaleError: the run's announcement was taken back, because the run counts as dead.
    :raises UnsupportedError: the VM's configuration cannot be read.
    :raises ConflictError: a restore writes over the VM, it is suspended or a template, or no slot is free any more.
    """
    what = f"attach {len(disks)} disks to VM {moref}"
    for _ in range(_TRIES):
        with speaking(what):
            values = read(session, session.vm(moref), *_PATHS)
        _require_open(values, moref, run)
        slots = _slots(values, [disk.wanted for disk in disks])
        spec = vim.vm.ConfigSpec(
            changeVersion=values["config.changeVersion"],
            extraConfig=options_for({_key(run): ""}),
            deviceChange=_changes(disks, slots),
        )
        if _change(session, moref, spec, {disk.file_name for disk in disks}, what):
            return slots
    raise TransientError(f"{what}: the VM is being changed all the time; nothing was attached")


def _change(session: Session, moref: str, spec: Any, files: set[str], what: str) -> bool:
    """Carry a change out, unless somebody has changed the VM meanwhile. Return whether the VM has the files."""
    try:
        with speaking(what):
            run_task(
                session,
                lambda: session.vm(moref).ReconfigVM_Task(spec),
                what=what,
                timeout=_SECONDS,
                look=lambda: True if files <= files_of(session, moref) else None,
            )
    except VSphereError as error:
        if error.fault != "ConcurrentAccess":
            raise
        return files <= files_of(session, moref)  # because an answer that was lost may have been a success
    return True


def files_of(session: Session, moref: str) -> set[str]:
    """Return the files of all disks of a VM. A snapshot that was taken since then hides no disk's base file."""
    values = read(session, session.vm(moref), "config.hardware.device", "runtime.connectionState")
    return _files(require_configuration(values["config.hardware.device"], moref, values["runtime.connectionState"]))


def users_of(session: Session, files: Iterable[str], *, besides: str) -> Mapping[str, str]:
    """Return the name and id of a VM that has each of these files, for the files that some VM has.

    :param besides: managed object id of a VM that does not count.
    :raises UnsupportedError: the disks of some VM cannot be read, so that it may have the files.
    """
    wanted = set(files)
    users: dict[str, str] = {}
    with speaking("look which VMs have the disks of a run"):
        found = read_all(session, vim.VirtualMachine, "name", "config.hardware.device", "runtime.connectionState")
    for vm, values in found:
        if moref_of(vm) != besides:
            user = f"{decode_name(values['name'] or '')} ({moref_of(vm)})"
            if values["config.hardware.device"] is None:
                raise UnsupportedError(
                    f"VM {user} may have a disk of the run, but {no_configuration(values['runtime.connectionState'])}: "
                    "nothing is removed; see to that VM, then try again"
                )
            for name in wanted & _files(values["config.hardware.device"]):
                users.setdefault(name, user)
    return users


def _files(devices: Iterable[Any]) -> set[str]:
    disks = (device for device in devices if isinstance(device, vim.vm.device.VirtualDisk))
    return {name for disk in disks for name in files_of_backing(disk.backing)}


def _require_open(values: Mapping[str, Any], moref: str, run: str) -> None:
    require_configuration(values["config.version"], moref, values["runtime.connectionState"])
    if values_by_key(values["config.extraConfig"]).get(_key(run)) != run:
        raise StaleError(f"run {run} was given up meanwhile, and attaches nothing to VM {moref}")
    if (claim := parse_claim(values["config.extraConfig"])) is not None:
        raise ConflictError(f"VM {moref} is being restored by run {claim.run}: nothing was attached")
    if values["config.template"]:
        raise ConflictError(f"VM {moref} is a template now: nothing was attached")
    if str(values["runtime.powerState"]) == PowerState.SUSPENDED:
        raise ConflictError(f"VM {moref} is suspended now, and takes no disk: nothing was attached")
    if str(values["runtime.powerState"]) == PowerState.ON and not takes_devices_hot(values["config.extraConfig"]):
        raise ConflictError(
            f"VM {moref} runs now, and its advanced setting devices.hotplug keeps it from getting devices meanwhile: "
            "nothing was attached"
        )


def _slots(values: Mapping[str, Any], requests: Sequence[SlotRequest]) -> tuple[Slot, ...]:
    running = str(values["runtime.powerState"]) != PowerState.OFF
    devices = values["config.hardware.device"] or ()
    return choose_slots(devices, requests, running=running, hardware=values["config.version"] or "")


def _changes(disks: Sequence[WholeDisk], slots: Sequence[Slot]) -> list[Any]:
    kinds = vim.vm.device
    controllers = new_controllers(slots)
    changes = [kinds.VirtualDeviceSpec(operation="add", device=device) for device in controllers.values()]
    for number, (disk, slot) in enumerate(zip(disks, slots, strict=True)):
        key = slot.controller_key if slot.controller_key is not None else controllers[slot.kind, slot.bus].key
        device = kinds.VirtualDisk(
            key=-200 - number,
            controllerKey=key,
            unitNumber=slot.unit,
            capacityInKB=disk.capacity // 1024,
            capacityInBytes=disk.capacity,
            backing=kinds.VirtualDisk.FlatVer2BackingInfo(fileName=disk.file_name, diskMode=disk.mode),
        )
        changes.append(kinds.VirtualDeviceSpec(operation="add", device=device))  # without a file operation
    return changes


def _set(session: Session, moref: str, values: Mapping[str, str], what: str) -> None:
    change_settings(session, moref, values, what=what)
    if not are_set(session, moref, values):
        raise VSphereError(f"{what}: vSphere reported no error, but the setting {', '.join(values)} is as it was")


def _key(run: str) -> str:
    """Return the run's own setting, in lower case, because vSphere compares keys without case."""
    return f"{SETTING}{hashlib.sha256(run.encode()).hexdigest()[:16]}"
