"""LUNs for raw device mappings: files in `DIR/luns`.

QueryConfigTarget and the host's own configuration name one LUN differently, as real systems do. Only the names of
QueryConfigTarget may go into a VM's disk.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmlab.api import fill, vim
from vmlab.managed.site import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Lun:
    """One LUN. `canonical` and `uuid` are those of ConfigTarget; the `host_` ones are the host's own."""

    number: int
    canonical: str
    uuid: str
    host_canonical: str
    host_uuid: str
    capacity: int
    hosts: tuple[str, ...] | None = None
    """Names of the hosts that see it; `None`: all do."""


def make_lun(number: int, capacity: int, hosts: tuple[str, ...] | None = None) -> Lun:
    """A LUN with fixed names derived from its number."""
    serial = f"{0x5000C500A0000000 + number:016x}"
    return Lun(
        number=number,
        canonical=f"naa.6{serial}{number:015x}",
        uuid=f"0200{number:02x}00006{serial}{number:015x}564d4c414220",
        host_canonical=f"vml.02000{number:x}00006{serial}",
        host_uuid=f"0100{number:02x}0000{serial}564d4c414220",
        capacity=capacity,
        hosts=hosts,
    )


def all_luns(site: Site) -> list[Lun]:
    """The LUNs of the site."""
    return [
        make_lun(number, capacity, tuple(*hosts) if hosts else None)
        for number, capacity, *hosts in site.world.meta("luns") or []
    ]


def lun_file(site: Site, lun: Lun) -> Path:
    """The file that holds a LUN's bytes."""
    return site.folder / "luns" / f"lun{lun.number}.img"


def add_lun(site: Site, number: int, capacity: int, hosts: tuple[str, ...] | None = None) -> Lun:
    """Make a LUN, all zeros."""
    lun = make_lun(number, capacity, hosts)
    path = lun_file(site, lun)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(capacity)
    entry = [number, capacity, *([list(hosts)] if hosts is not None else [])]
    site.world.set_meta("luns", [*(site.world.meta("luns") or []), entry])
    return lun


def lun_users(site: Site) -> dict[str, Any]:
    """Return the VMs that map LUNs, by the LUN's ConfigTarget uuid."""
    users: dict[str, Any] = {}
    for vm in site.world.all(vim.VirtualMachine):
        for device in site.world.get(vm, "config").hardware.device:
            lun_uuid = getattr(device.backing, "lunUuid", None)
            if lun_uuid:
                users[lun_uuid] = vm
    return users


def host_luns(site: Site) -> list[Any]:
    """Return the LUNs under the host's own names."""
    return [_scsi_disk(lun, lun.host_canonical, lun.host_uuid) for lun in all_luns(site)]


def target_luns(site: Site, hosts: list[Any]) -> list[Any]:
    """Return the LUNs that any of the hosts sees, as QueryConfigTarget offers them.

    Those in use are there too: those of RDMs with the VM that maps each, and those of datastores like any other.
    """
    used, names = lun_users(site), {site.world.get(host, "name") for host in hosts}
    return [
        vim.vm.ScsiDiskDeviceInfo(
            name=lun.canonical,
            disk=_scsi_disk(lun, lun.canonical, lun.uuid),
            transportHint="iscsi",
            lunNumber=lun.number,
            vm=[used[lun.uuid]] if lun.uuid in used else [],
        )
        for lun in all_luns(site)
        if lun.hosts is None or names.intersection(lun.hosts)
    ]


def _scsi_disk(lun: Lun, canonical: str, uuid: str) -> Any:
    return fill(
        vim.host.ScsiDisk(
            key=f"key-vim.host.ScsiDisk-{uuid}",
            uuid=uuid,
            canonicalName=canonical,
            deviceName=f"/vmfs/devices/disks/{canonical}",
            devicePath=f"/vmfs/devices/disks/{canonical}",
            displayName=f"vmlab iSCSI Disk ({canonical})",
            deviceType="disk",
            lunType="disk",
            operationalState=["ok"],
            vendor="vmlab",
            model="LUN",
            capacity=vim.host.DiskDimensions.Lba(blockSize=512, block=lun.capacity // 512),
        )
    )
