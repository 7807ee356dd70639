"""Finds VMs that cannot be relocated: vCenter lists RelocateVM_Task among the disabled methods of a held VM.

vCenter does not tell who holds a VM. Only VDDK's EndAccess shows whether one's own identity does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from vmkeep.model.vmref import VmRef
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import read, read_all
from vmkeep.vsphere.session import Session

_RELOCATE: Final = "RelocateVM_Task"


def is_fixed(session: Session, moref: str) -> bool:
    """Tell whether a VM cannot be relocated now."""
    with speaking(f"ask whether VM {moref} may be relocated"):
        return lists_relocation(read(session, session.vm(moref), "disabledMethod")["disabledMethod"])


def list_fixed(session: Session) -> tuple[VmRef, ...]:
    """Return every VM that cannot be relocated now."""
    with speaking("look for VMs that cannot be relocated"):
        found = read_all(session, vim.VirtualMachine, "name", "disabledMethod")
    return tuple(
        VmRef(moref=moref_of(vm), name=decode_name(values["name"] or ""))
        for vm, values in found
        if lists_relocation(values["disabledMethod"])
    )


def lists_relocation(disabled: Iterable[Any] | None) -> bool:
    """Tell whether a VM's disabled methods list its relocation."""
    return any(str(method) == _RELOCATE for method in disabled or ())
