"""Describes a VM as it is now, or as a snapshot holds it: identity, disks, and facts that a backup needs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Any

from vmkeep.lateclass import dataclass
from vmkeep.model.disk import ChangeId, Disk
from vmkeep.model.point import VmIdentity
from vmkeep.model.vmref import VmRef
from vmkeep.vsphere import guests, loads, protection
from vmkeep.vsphere.api import moref_of, serialize, vim
from vmkeep.vsphere.claims import VmClaim, parse_claim, parse_incomplete
from vmkeep.vsphere.disks import disks_of
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.hostfiles import HOST_PATHS
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.paths import UPWARDS, inventory_path_of
from vmkeep.vsphere.properties import look_at, read, read_each
from vmkeep.vsphere.protection import require_configuration
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.sharing import snapshot_obstacles
from vmkeep.vsphere.slots import takes_devices_hot


class PowerState(StrEnum):
    """The power states of a VM, in vSphere's words."""

    ON = "poweredOn"
    OFF = "poweredOff"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True, kw_only=True)
class VmDescription:
    """The description of one VM by vSphere."""

    identity: VmIdentity
    disks: tuple[Disk, ...]
    power: PowerState
    template: bool
    encrypted: bool
    tracking_supported: bool
    """The VM's hardware can do changed block tracking."""
    tracked: bool
    """Changed block tracking is on."""
    snapshot_obstacles: tuple[str, ...]
    """Reasons why vSphere refuses every snapshot of the VM."""
    has_snapshots: bool
    consolidation_needed: bool
    tools_running: bool
    hardware: str
    """Virtual hardware version, e.g. ``vmx-19``."""
    vmx: str
    """``[datastore] folder/name.vmx``."""
    host: str | None
    """Name of the ESXi host on which the VM is registered."""
    datastores: tuple[str, ...]
    """Names of the datastores with the VM's files."""
    claim: VmClaim | None
    """The claim of a restore that works on the VM."""
    incomplete: str
    """The runs of restores that have written a part of the disks and did not finish; empty: there are none."""
    not_protectable: str | None
    """Reason why the VM cannot be backed up, though its configuration is known; ``None``: it can."""
    managed_by: str | None
    """The software that manages the VM, e.g. vSphere itself; ``None``: only people do."""
    change_version: str | None
    """vSphere's version of the configuration, which every change of it renews."""
    hot_plug: bool = True
    """The VM takes devices while it runs."""
    fault_tolerant: bool = False
    """Another VM follows this one step by step, so that vSphere takes only snapshots without memory of it."""

    @property
    def moref(self) -> str:
        """Managed object id."""
        assert self.identity.moref is not None
        return self.identity.moref

    @property
    def ref(self) -> VmRef:
        """The VM as messages name it."""
        return VmRef(moref=self.moref, name=self.identity.name)

    @property
    def running(self) -> bool:
        """The VM is powered on; a suspended VM is not."""
        return self.power is PowerState.ON


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldDisk:
    """A disk as a snapshot holds it: the file to open, and its change id."""

    disk: Disk
    change_id: ChangeId | None
    """``None``: the disk is not tracked."""

    @property
    def key(self) -> int:
        """The disk's device key."""
        return self.disk.key


_PATHS = (
    "name",
    "config",
    "snapshot",
    "capability.changeTrackingSupported",
    "runtime.powerState",
    *protection.PATHS,
    "runtime.consolidationNeeded",
    "runtime.host",
    "guest.toolsRunningStatus",
    *guests.PATHS,
    "datastore",
)
_DEVICES = "config.hardware.device"
_FOR_OTHERS = ("network", "customValue", "availableField")
"""Properties that the readers of names ask of the same VM (:mod:`vmkeep.vsphere.references`)."""


def look_at_whole_vm(session: Session, moref: str) -> AbstractContextManager[None]:
    """Read in one call a VM, the objects that it is in, its host and its datastores. The body answers from that.

    The body must not change the VM (:mod:`vmkeep.vsphere.looks`).
    """
    host, stores = ("runtime.host", vim.HostSystem), ("datastore", vim.Datastore)
    along = {host: ("name", *HOST_PATHS), stores: ("name",)}
    return look_at(session, session.vm(moref), *_PATHS, *_FOR_OTHERS, along=along, steps=UPWARDS)


def describe_vm(session: Session, moref: str) -> VmDescription:
    """Describe one VM. This takes four round trips, or none in the body of :func:`look_at_whole_vm`.

    :raises NotFoundError: no VM has that id.
    :raises UnsupportedError: vSphere knows no configuration of the VM, because its host or datastore is not reachable.
    """
    with speaking(f"describe VM {moref}"):
        managed = session.vm(moref)
        values = read(session, managed, *_PATHS)
        config = require_configuration(
            values["config"], decode_name(values["name"] or moref), values["runtime.connectionState"]
        )
        place = inventory_path_of(session, managed)
        host = values["runtime.host"]
        disks = disks_of(config.hardware.device)
        return VmDescription(
            identity=VmIdentity(
                name=decode_name(values["name"]),
                key=config.instanceUuid or config.uuid,
                moref=moref_of(managed),
                instance_uuid=config.instanceUuid,
                bios_uuid=config.uuid,
                vcenter=server_uuid(session),
                inventory_path=place.path,
                server=session.host,
                addresses=guests.addresses_of(values),
                dns_name=guests.dns_name_of(values),
            ),
            disks=disks,
            power=PowerState(str(values["runtime.powerState"])),
            template=bool(config.template),
            encrypted=config.keyId is not None or any(disk.key_id is not None for disk in disks),
            tracking_supported=bool(values["capability.changeTrackingSupported"]),
            tracked=bool(config.changeTrackingEnabled),
            snapshot_obstacles=snapshot_obstacles(config.hardware.device),
            has_snapshots=values["snapshot"] is not None,
            consolidation_needed=bool(values["runtime.consolidationNeeded"]),
            tools_running=values["guest.toolsRunningStatus"] == "guestToolsRunning",
            hardware=config.version,
            vmx=config.files.vmPathName,
            host=read(session, host, "name")["name"] if host is not None else None,
            datastores=tuple(
                sorted(names["name"] for _, names in read_each(session, values["datastore"] or (), "name"))
            ),
            claim=parse_claim(config.extraConfig),
            incomplete=parse_incomplete(config.extraConfig),
            not_protectable=protection.why_not(values),
            managed_by=protection.manager(config.managedBy),
            hot_plug=takes_devices_hot(config.extraConfig),
            fault_tolerant=config.ftInfo is not None,
            change_version=config.changeVersion,
        )


def look_at_held_disks(session: Session, moref: str) -> AbstractContextManager[None]:
    """Read in one call a VM's snapshots, the devices that the current one holds, and the VM's host.

    The body answers from that.
    """
    along = dict([(("snapshot.currentSnapshot", vim.vm.Snapshot), (_DEVICES,)), loads.HOST])
    return look_at(session, session.vm(moref), "snapshot", *protection.PATHS, along=along)


def held_disks(session: Session, moref: str, snapshot: str | None) -> tuple[HeldDisk, ...]:
    """Return the disks as a snapshot holds them.

    Independent disks and physical RDMs are in no snapshot, though vSphere lists them there.

    :param snapshot: managed object id; ``None``: the disks as the VM has them now.
    :raises NotFoundError: the VM or the snapshot does not exist.
    """
    with speaking(f"read the disks of VM {moref}" + (f" in snapshot {snapshot}" if snapshot else "")):
        devices = (
            _read_config(session, moref, None).hardware.device if snapshot is None else held_devices(session, snapshot)
        )
        changes = {device.key: change_id(device.backing) for device in devices}
        return tuple(HeldDisk(disk=disk, change_id=changes[disk.key]) for disk in disks_of(devices))


def held_devices(session: Session, snapshot: str) -> Any:
    """Return the devices that a VM had when a snapshot was taken, as vSphere gives them."""
    return read(session, session.managed(vim.vm.Snapshot, snapshot), _DEVICES)[_DEVICES]


def change_id(backing: Any) -> ChangeId | None:
    """Return the change id of a disk's backing. An empty one, or ``*``, counts as none."""
    text = getattr(backing, "changeId", None)
    return ChangeId(text) if text and text != "*" else None


def config_xml(session: Session, moref: str, snapshot: str | None = None) -> str:
    """Return a VM's configuration (``VirtualMachineConfigInfo``), of now or of a snapshot, as vim25 XML.

    :raises NotFoundError: the VM or the snapshot does not exist.
    """
    with speaking(f"read the configuration of VM {moref}"):
        return serialize(_read_config(session, moref, snapshot), session.api_version).decode()


def _read_config(session: Session, moref: str, snapshot: str | None) -> Any:
    if snapshot is None:
        values = read(session, session.vm(moref), "config", "runtime.connectionState")
        return require_configuration(values["config"], moref, values["runtime.connectionState"])
    return read(session, session.managed(vim.vm.Snapshot, snapshot), "config")["config"]
