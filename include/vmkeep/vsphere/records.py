"""The record of a VM in a list, made of properties that are cheap to read for many VMs at once."""

from __future__ import annotations

from typing import Any

from vmkeep.lateclass import dataclass
from vmkeep.vsphere import protection
from vmkeep.vsphere.api import moref_of
from vmkeep.vsphere.describe import PowerState
from vmkeep.vsphere.names import decode_name


@dataclass(frozen=True, slots=True, kw_only=True)
class VmRecord:
    """A line of the list of VMs."""

    moref: str
    name: str
    instance_uuid: str | None
    bios_uuid: str | None
    power_state: PowerState | None
    ip_address: str | None
    """The last address that VMware Tools reported. vSphere keeps it for some VMs after power-off."""
    template: bool
    not_protectable: str | None
    """Reason why the VM cannot be backed up; ``None``: it can."""
    managed_by: str | None
    """The software that manages the VM, e.g. vSphere itself; ``None``: only people do."""
    size: int | None
    """Bytes of the VM's files on datastores, as vSphere last counted them."""
    host: str | None
    """Managed object id of its ESXi host."""


FIELDS = (
    "name",
    "summary.config.instanceUuid",
    "summary.config.uuid",
    "summary.config.template",
    "runtime.powerState",
    "summary.guest.ipAddress",
    "summary.storage.committed",
    "runtime.host",
    *protection.PATHS,
)


def record_of(vm: Any, values: dict[str, Any]) -> VmRecord:
    """Return the record of a VM.

    :param values: the properties of :data:`FIELDS`.
    """
    power, managed_by = values["runtime.powerState"], protection.manager(values["config.managedBy"])
    return VmRecord(
        moref=moref_of(vm),
        name=decode_name(values["name"] or ""),
        instance_uuid=values["summary.config.instanceUuid"],
        bios_uuid=values["summary.config.uuid"],
        power_state=PowerState(str(power)) if power is not None else None,
        ip_address=values["summary.guest.ipAddress"],
        template=bool(values["summary.config.template"]),
        not_protectable=protection.why_not(values),
        managed_by=managed_by,
        size=int(size) if (size := values["summary.storage.committed"]) is not None else None,
        host=moref_of(host) if (host := values["runtime.host"]) is not None else None,
    )
