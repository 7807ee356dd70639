"""The demo inventory: a datacenter with a cluster of two hosts, two datastores, two networks, and VMs worth backing up.

`app01` is the main one: four disks on three controllers, two of them a real Linux volume group, one a physical raw
device mapping. Built through the same code as CreateVM_Task, in seconds.
"""

import copy
import logging
from typing import Any

from vmlab.api import vim
from vmlab.inventory.images import open_image, write_data_disk
from vmlab.inventory.places import Places, make_places
from vmlab.managed.machine import Device, Disk, new_guest
from vmlab.managed.provisioning import create_vm
from vmlab.managed.site import Site
from vmlab.managed.storage import add_lun, all_luns, lun_file
from vmlab.managed.vms import power_on

log = logging.getLogger(__name__)

ADMINISTRATOR = "administrator@vsphere.local"
BACKUP_USER = "backup@vsphere.local"
READ_ONLY_USER = "readonly@vsphere.local"
MIB = 1 << 20


def build_inventory(site: Site, data_disk_bytes: int) -> None:
    """Fill an empty site. After a crash in the middle, the caller clears everything away and begins anew."""
    places = make_places(site)
    for number, size in enumerate((64 * MIB, 64 * MIB, 128 * MIB)):
        add_lun(site, number, size)
    with open_image("vip") as (raw, _), lun_file(site, _lun(site, 0)).open("r+b") as lun:
        lun.write(raw.read())
    _app01(site, places, data_disk_bytes)
    _small_vms(site, places)
    site.world.set_meta("built", True)
    log.info("inventory ready: %d VMs", len(site.world.all(vim.VirtualMachine)))


def _lun(site: Site, number: int) -> Any:
    return all_luns(site)[number]


def _app01(site: Site, places: Places, data_disk_bytes: int) -> None:
    home = "[datastore1] app01"
    _image(site, f"{home}/app01.vmdk", "ia")
    _image(site, f"{home}/app01_1.vmdk", "ib")
    site.store.create(f"{home}/app01_2.vmdk", data_disk_bytes, thin=True)
    log.info("app01: data disk holds %d MiB", write_data_disk(site.store, f"{home}/app01_2.vmdk") // MIB)
    used = _lun(site, 0)
    rdm = Disk.RawDiskMappingVer1BackingInfo(
        fileName=f"{home}/app01_3.vmdk", lunUuid=used.uuid, deviceName=used.canonical, compatibilityMode="physicalMode",
        diskMode="independent_persistent",
    )  # fmt: skip
    changes = [
        added(Device.ParaVirtualSCSIController(key=-1, busNumber=0, sharedBus="noSharing")),
        added(Device.VirtualAHCIController(key=-2, busNumber=0)),
        added(Device.VirtualLsiLogicSASController(key=-3, busNumber=1, sharedBus="noSharing")),
        added(existing_disk(f"{home}/app01.vmdk", -1, 0)),
        added(existing_disk(f"{home}/app01_1.vmdk", -1, 1)),
        added(existing_disk(f"{home}/app01_2.vmdk", -2, 0)),
        added(Disk(key=-7, controllerKey=-3, unitNumber=0, capacityInKB=used.capacity // 1024, backing=rdm), "create"),
        added(cdrom(-2, 1)),
        added(network_card("VM Network")),
    ]
    spec = spec_for("app01", f"{home}/app01.vmx", changes, guest_id="debian12_64Guest", memory=4096, cpus=2)
    spec.annotation = "Order processing. Two disks are one volume group; the raw device mapping belongs to the array."
    ref = create_vm(site, places.folders["Production"], spec, places.pool)
    _start(site, ref, ip="192.168.10.11", host_name="app01.lab.example")


def _small_vms(site: Site, places: Places) -> None:
    web = _vm(site, places, "Production", "web01", [("vi", None)], datastore="datastore1")
    _start(site, web, ip="192.168.10.21", host_name="web01.lab.example")
    old = _vm(
        site, places, "", "old01", [("viii-mini", None), ("x", None)], datastore="datastore2", controller="lsilogic"
    )
    _guest(site, old, ip="192.168.10.31", host_name="old01.lab.example")
    _vm(site, places, "Production", "twin", [("vip", None)], datastore="datastore1")
    if site.product.is_vcenter:  # because a host has one folder for all VMs, in which names are unique
        _vm(site, places, "Test", "twin", [("vip", None)], datastore="datastore2")
    db = _vm(
        site, places, "Production", "db01", [("vi", None), ("vip", "independent_persistent")], datastore="datastore2"
    )
    _start(site, db, ip="192.168.10.41", host_name="db01.lab.example")
    _vm(site, places, "Test", "dätä web%2f01 ☃", [("vi", None)], datastore="datastore1", home="data-web")
    if site.product.is_vcenter:  # because a host knows no templates
        template = _vm(site, places, "", "debian-template", [("vi", None)], datastore="datastore2")
        _mark_template(site, template)


def _vm(
    site: Site, places: Places, folder: str, name: str, images: list[tuple[str, str | None]], *, datastore: str,
    controller: str = "pvscsi", home: str | None = None,
) -> Any:  # fmt: skip
    stem = home or name
    kind = Device.ParaVirtualSCSIController if controller == "pvscsi" else Device.VirtualLsiLogicController
    changes = [added(kind(key=-1, busNumber=0, sharedBus="noSharing")), added(network_card("VM Network"))]
    for number, (image, mode) in enumerate(images):
        path = f"[{datastore}] {stem}/{stem}{f'_{number}' if number else ''}.vmdk"
        _image(site, path, image)
        changes.append(added(existing_disk(path, -1, number, mode or "persistent")))
    spec = spec_for(name, f"[{datastore}] {stem}/{stem}.vmx", changes)
    return create_vm(site, places.folders[folder], spec, places.pool)


def spec_for(
    name: str, vmx: str, changes: list[Any], *, guest_id: str = "otherLinux64Guest", memory: int = 512, cpus: int = 1
) -> Any:
    """A ConfigSpec for a VM with given device changes."""
    files = vim.vm.FileInfo(vmPathName=vmx)
    return vim.vm.ConfigSpec(
        name=name, guestId=guest_id, memoryMB=memory, numCPUs=cpus, files=files, deviceChange=changes
    )


def added(device: Any, file_operation: str | None = None) -> Any:
    """The device change that adds a device."""
    return Device.VirtualDeviceSpec(operation="add", fileOperation=file_operation, device=device)


def existing_disk(path: str, controller: int, unit: int, mode: str = "persistent") -> Any:
    """A disk whose files are there already."""
    backing = Disk.FlatVer2BackingInfo(fileName=path, diskMode=mode)
    return Disk(
        key=-100 - unit + controller * 20, controllerKey=controller, unitNumber=unit, capacityInKB=0, backing=backing
    )


def cdrom(controller: int, unit: int) -> Any:
    """An empty CD-ROM drive."""
    backing = Device.VirtualCdrom.RemotePassthroughBackingInfo(deviceName="", useAutoDetect=False, exclusive=False)
    connect = Device.VirtualDevice.ConnectInfo(startConnected=False, allowGuestControl=True, connected=False)
    return Device.VirtualCdrom(key=-50, controllerKey=controller, unitNumber=unit, backing=backing, connectable=connect)


def network_card(network: str) -> Any:
    """A vmxnet3 card on a network."""
    backing = Device.VirtualEthernetCard.NetworkBackingInfo(deviceName=network)
    return Device.VirtualVmxnet3(key=-60, backing=backing, addressType="generated")


def _image(site: Site, path: str, name: str) -> None:
    with open_image(name) as (raw, size):
        site.store.create_from_raw(path, raw, capacity=size, thin=True)


def _guest(site: Site, ref: Any, *, ip: str, host_name: str) -> None:
    guest = new_guest(site.world.get(ref, "config"), tools=True, ip=ip, host_name=host_name)
    site.world.update(ref, guest=guest)


def _start(site: Site, ref: Any, *, ip: str, host_name: str) -> None:
    _guest(site, ref, ip=ip, host_name=host_name)
    power_on(site, ref)


def _mark_template(site: Site, ref: Any) -> None:
    config = copy.deepcopy(site.world.get(ref, "config"))
    config.template = True
    site.world.update(ref, config=config, resourcePool=None)
