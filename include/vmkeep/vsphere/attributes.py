"""Finds custom attributes by name, and sets them on a VM."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vmkeep.errors import NotFoundError
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session


def known_attributes(session: Session) -> Mapping[str, int]:
    """Return the keys of the custom attributes that a VM can have, by name. An ESXi host knows none."""
    manager = session.content.customFieldsManager
    if not session.is_vcenter or manager is None:
        return {}
    with speaking(f"list the custom attributes of {session.host}"):
        fields = read(session, manager, "field")["field"] or ()
    return {
        str(field.name): int(field.key)
        for field in fields
        if field.managedObjectType in (None, vim.VirtualMachine, vim.ManagedEntity)
    }


def set_attributes(session: Session, moref: str, values: Iterable[tuple[str, str]]) -> None:
    """Set custom attributes of a VM, given as names and values. To set the same again does no harm.

    :raises NotFoundError: the vCenter does not know an attribute (any more).
    """
    known = known_attributes(session)
    manager = session.content.customFieldsManager
    for name, value in values:
        if name not in known:
            raise NotFoundError(f"{session.host} has no custom attribute '{name}' for VMs any more")
        with speaking(f"set the custom attribute '{name}' of VM {moref}"):
            manager.SetField(session.vm(moref), known[name], value)
