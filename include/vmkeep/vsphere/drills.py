"""Finds and removes the VMs of a drill. A VM is removed only if it carries exactly the mark of that drill.

A clone of such a VM carries the mark, too, so the caller has to know that the drill made the VM.
"""

from __future__ import annotations

import logging
from contextlib import suppress

from vmkeep.errors import ConflictError, NotFoundError
from vmkeep.lateclass import dataclass
from vmkeep.model.vmref import VmRef
from vmkeep.vsphere import machines
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.attaching import files_of, users_of
from vmkeep.vsphere.claims import DRILL, MADE_BY
from vmkeep.vsphere.disks import disks_of
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import read, read_all
from vmkeep.vsphere.protection import PATHS, require_configuration
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.tasks import run_task
from vmkeep.vsphere.vmsettings import values_by_key

log = logging.getLogger(__name__)


def drill_mark(repository: str, run: str) -> str:
    """Return the mark of a drill. Runs of two repositories may have one id, so both stand in it."""
    return f"{repository}/{run}"


def parse_drill_mark(mark: str) -> tuple[str, str]:
    """Return the id of the repository and the run in the mark of a drill."""
    repository, _, run = mark.partition("/")
    return repository, run


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillVm:
    """A VM that carries the mark of a drill."""

    vm: VmRef
    half_made_by: str
    """The run that is making the VM, or died while it made it; empty: the VM is made."""


def list_drill_vms(session: Session, mark: str) -> tuple[DrillVm, ...]:
    """Return the VMs that carry the mark of a drill, sorted by name. VMs that cannot be read are not among them."""
    with speaking("look for the VMs of a drill"):
        found = read_all(session, vim.VirtualMachine, "name", "config.extraConfig")
    vms = [
        DrillVm(
            vm=VmRef(moref=moref_of(vm), name=decode_name(values["name"] or "")),
            half_made_by=settings.get(MADE_BY, ""),
        )
        for vm, values in found
        if (settings := values_by_key(values["config.extraConfig"])).get(DRILL) == mark
    ]
    return tuple(sorted(vms, key=lambda found: (found.vm.name, found.vm.moref)))


def has_mark(session: Session, moref: str, mark: str) -> bool:
    """Return whether a VM carries the mark of a drill.

    :raises NotFoundError: there is no such VM.
    :raises UnsupportedError: its configuration cannot be read, so that nobody can tell.
    """
    with speaking(f"look at VM {moref}"):
        values = read(session, session.vm(moref), "config.extraConfig", *PATHS)
    require_configuration(values["config.version"], moref, values["runtime.connectionState"])
    return values_by_key(values["config.extraConfig"]).get(DRILL) == mark


def remove_drill_vm(session: Session, moref: str, mark: str, *, disks: frozenset[str]) -> None:
    """Switch a drill's VM off, and destroy it with its disks. A VM that is gone already is no error.

    The mark is looked at again right before the VM is destroyed, because a person keeps a VM by taking the mark off.
    The disks are looked at as well, because vSphere destroys those that a person attached, too.

    :param disks: addresses of the disks that the drill made.
    :raises ConflictError: the VM does not carry the mark, or has other disks. Nothing was done.
    """
    what = f"remove VM {moref} of drill {mark}"
    with suppress(NotFoundError):
        _require_own(session, moref, mark, disks)
        log.info("%s", what)
        machines.power_off(session, moref)
        _require_own(session, moref, mark, disks)
        with speaking(what):
            run_task(
                session,
                session.vm(moref).Destroy_Task,
                what=what,
                timeout=machines.POWER_SECONDS,
                look=lambda: None if machines.is_there(session, moref) else True,
            )


def _require_own(session: Session, moref: str, mark: str, disks: frozenset[str]) -> None:
    """Return if a VM carries the mark, and all of its disks are its own.

    :raises ConflictError: it does not, or has a disk that the drill did not make, or that another VM has, too.
    """
    with speaking(f"look at VM {moref}"):
        values = read(session, session.vm(moref), "config.extraConfig", "config.hardware.device", *PATHS)
    require_configuration(values["config.version"], moref, values["runtime.connectionState"])
    if (found := values_by_key(values["config.extraConfig"]).get(DRILL)) != mark:
        raise ConflictError(
            f"VM {moref} is no VM of drill {mark} (its setting {DRILL}: {found or 'none'}): it is not removed"
        )
    present = disks_of(values["config.hardware.device"] or ())
    foreign = [f"{disk.label} ({disk.file_name})" for disk in present if disk.address not in disks]
    foreign += [
        f"{file} of VM {user}" for file, user in users_of(session, files_of(session, moref), besides=moref).items()
    ]
    if foreign:
        raise ConflictError(
            f"VM {moref} of drill {mark} is not removed, because vSphere would delete disks that the drill did not "
            f"make: {', '.join(foreign)}. Detach them in vCenter and keep their files, then remove the VM"
        )
