"""Finds and removes the VMs of a drill. A VM is removed only if it carries exactly the mark of that drill."""

from __future__ import annotations

import logging
from contextlib import suppress

from vmkeep.errors import ConflictError, NotFoundError
from vmkeep.model.vmref import VmRef
from vmkeep.vsphere import machines
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.claims import DRILL, values_by_key
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import read, read_all
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.tasks import run_task

log = logging.getLogger(__name__)


def drill_mark(repository: str, run: str) -> str:
    """Return the mark of a drill. Runs of two repositories may have one id, so both stand in it."""
    return f"{repository}/{run}"


def list_drill_vms(session: Session, mark: str) -> tuple[VmRef, ...]:
    """Return the VMs that carry the mark of a drill, sorted by name."""
    with speaking("look for the VMs of a drill"):
        found = read_all(session, vim.VirtualMachine, "name", "config.extraConfig")
    refs = [
        VmRef(moref=moref_of(vm), name=decode_name(values["name"] or ""))
        for vm, values in found
        if values_by_key(values["config.extraConfig"]).get(DRILL) == mark
    ]
    return tuple(sorted(refs, key=lambda ref: (ref.name, ref.moref)))


def remove_drill_vm(session: Session, moref: str, mark: str) -> None:
    """Switch a drill's VM off, and destroy it with its disks. A VM that is gone already is no error.

    The mark is looked at again right before the VM is destroyed, because a person keeps a VM by taking the mark off.

    :raises ConflictError: the VM does not carry the mark. Nothing was done.
    """
    what = f"remove VM {moref} of drill {mark}"
    with suppress(NotFoundError):
        _require_mark(session, moref, mark)
        log.info("%s", what)
        machines.power_off(session, moref)
        _require_mark(session, moref, mark)
        with speaking(what):
            run_task(
                session,
                session.vm(moref).Destroy_Task,
                what=what,
                timeout=machines.POWER_SECONDS,
                look=lambda: None if _is_there(session, moref) else True,
            )


def _require_mark(session: Session, moref: str, mark: str) -> None:
    with speaking(f"look at VM {moref}"):
        settings = read(session, session.vm(moref), "config.extraConfig")["config.extraConfig"]
    if (found := values_by_key(settings).get(DRILL)) != mark:
        raise ConflictError(
            f"VM {moref} is no VM of drill {mark} (its setting {DRILL}: {found or 'none'}): it is not removed"
        )


def _is_there(session: Session, moref: str) -> bool:
    try:
        machines.power_state(session, moref)
    except NotFoundError:
        return False
    return True
