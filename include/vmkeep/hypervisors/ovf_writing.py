"""Writes a machine as an OVF descriptor, as vSphere and ovftool take it, and the manifest beside it.

Sources: DMTF DSP0243 1.1.0 (the descriptor, and the order of a package) and DSP8023 (its schema); the sub-types of
devices and ``vmw:Config`` are those that vSphere itself writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

from vmkeep.errors import UnsupportedError
from vmkeep.hypervisors.guests import cim_number, guest_of
from vmkeep.hypervisors.libvirt import usable_mac
from vmkeep.hypervisors.written import FileOfDisk, WrittenDisk, in_boot_order, one_line
from vmkeep.hypervisors.xmltext import HEAD, Element
from vmkeep.model.disk import ControllerKind
from vmkeep.model.portable import Firmware, PortableCard, PortableDisk, PortableMachine

OVF_ENDS = (".ovf", ".mf")
"""Ends of the names of a descriptor and of its manifest."""
STREAM_FORMAT = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
_NAMESPACES = {
    "xmlns": "http://schemas.dmtf.org/ovf/envelope/1",
    "xmlns:cim": "http://schemas.dmtf.org/wbem/wscim/1/common",
    "xmlns:ovf": "http://schemas.dmtf.org/ovf/envelope/1",
    "xmlns:rasd": "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData",
    "xmlns:vmw": "http://www.vmware.com/schema/ovf",
    "xmlns:vssd": "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData",
}
_CPU, _MEMORY, _IDE, _SCSI, _CARD, _DISK, _STORAGE = 3, 4, 5, 6, 10, 17, 20
"""CIM's numbers of the kinds of resource. NVMe and SATA controllers are *other storage devices*."""
_CONTROLLERS: Mapping[str, tuple[int, str]] = {
    "ParaVirtualSCSIController": (_SCSI, "VirtualSCSI"),
    "VirtualLsiLogicController": (_SCSI, "lsilogic"),
    "VirtualLsiLogicSASController": (_SCSI, "lsilogicsas"),
    "VirtualBusLogicController": (_SCSI, "buslogic"),
}
_BY_KIND: Mapping[ControllerKind, tuple[int, str]] = {
    ControllerKind.SCSI: (_SCSI, "lsilogic"),
    ControllerKind.SATA: (_STORAGE, "vmware.sata.ahci"),
    ControllerKind.NVME: (_STORAGE, "vmware.nvme.controller"),
    ControllerKind.IDE: (_IDE, ""),
}
_CARDS: Mapping[str, str] = {
    "vmxnet3": "VmxNet3", "vmxnet2": "VmxNet2", "vmxnet": "VmxNet", "e1000": "E1000", "e1000e": "E1000e",
    "pcnet32": "PCNet32",
}  # fmt: skip
_NO_NETWORK = "VM Network"
"""vSphere's usual name of a network, for cards whose own is not known: a card without one cannot be imported."""
_DEFAULT_VERSION = 13


def ovf_xml(machine: PortableMachine, files: Sequence[WrittenDisk], *, size: int = 0) -> str:
    """Return the descriptor.

    :param size: number of bytes to fill the descriptor up to, by blanks at its end; 0: as long as it is.
    :raises UnsupportedError: the descriptor does not fit into ``size``.
    """
    disks = in_boot_order(machine, files)
    text = HEAD + Element("Envelope", _NAMESPACES, tuple(_envelope(machine, disks))).render()
    missing = size - len(text.encode()) if size else 0
    if missing < 0:
        raise UnsupportedError(f"the OVF descriptor of {machine.name} needs {-missing} bytes more than were planned")
    return text if not missing else text[:-1] + " " * missing + "\n"


def manifest(digests: Mapping[str, str]) -> str:
    """Return the text of the ``.mf`` file.

    :param digests: name of each file → its SHA-256 in hexadecimal.
    """
    return "".join(f"SHA256({name})= {digest}\n" for name, digest in digests.items())


def _envelope(machine: PortableMachine, disks: Sequence[FileOfDisk]) -> Iterator[Element]:
    yield Element("References", content=tuple(
        Element("File", {"ovf:href": quote(each.file.name), "ovf:id": f"file{at}", "ovf:size": each.file.size})
        for at, each in enumerate(disks, start=1)
    ))  # fmt: skip
    yield Element("DiskSection", content=(_info("The disks of the machine"), *(
        Element("Disk", {
            "ovf:capacity": each.disk.capacity, "ovf:capacityAllocationUnits": "byte", "ovf:diskId": f"vmdisk{at}",
            "ovf:fileRef": f"file{at}", "ovf:format": STREAM_FORMAT, "ovf:populatedSize": each.file.populated,
        })
        for at, each in enumerate(disks, start=1)
    )))  # fmt: skip
    networks = dict.fromkeys(network_name(card) for card in machine.cards)
    if networks:
        yield Element("NetworkSection", content=(_info("The networks of the machine"), *(
            Element("Network", {"ovf:name": name}, (Element("Description", content=f"The network {name}"),))
            for name in networks
        )))  # fmt: skip
    yield Element("VirtualSystem", {"ovf:id": _system_id(machine)}, tuple(_system(machine, disks)))


def network_name(card: PortableCard) -> str:
    """Return the name that the descriptor gives to a card's network."""
    return one_line(card.network) or _NO_NETWORK


def _system_id(machine: PortableMachine) -> str:
    return one_line(machine.name) or "vm"


def _info(text: str) -> Element:
    return Element("Info", content=text)


def _system(machine: PortableMachine, disks: Sequence[FileOfDisk]) -> Iterator[Element]:
    guest = guest_of(machine)
    yield _info("A virtual machine")
    yield Element("Name", content=_system_id(machine))
    yield Element("OperatingSystemSection", {"ovf:id": cim_number(guest), "vmw:osType": machine.guest_id}, (
        _info("The guest system"),
        *((Element("Description", content=one_line(machine.guest_name)),) if machine.guest_name else ()),
    ))  # fmt: skip
    if machine.annotation:
        content = (_info("Notes about the machine"), Element("Annotation", content=machine.annotation))
        yield Element("AnnotationSection", content=content)
    hardware = (*_items(machine, disks), *_config(machine))
    yield Element("VirtualHardwareSection", content=(
        _info("Virtual hardware"),
        Element("System", content=(
            Element("vssd:ElementName", content="Virtual Hardware Family"),
            Element("vssd:InstanceID", content="0"),
            Element("vssd:VirtualSystemIdentifier", content=_system_id(machine)),
            Element("vssd:VirtualSystemType", content=f"vmx-{machine.hardware_version or _DEFAULT_VERSION:02d}"),
        )),
        *hardware,
    ))  # fmt: skip


def _config(machine: PortableMachine) -> Iterator[Element]:
    if machine.firmware is Firmware.EFI:
        yield Element("vmw:Config", {"ovf:required": False, "vmw:key": "firmware", "vmw:value": "efi"})
    if machine.secure_boot:
        key = "bootOptions.efiSecureBootEnabled"
        yield Element("vmw:Config", {"ovf:required": False, "vmw:key": key, "vmw:value": True})


def _items(machine: PortableMachine, disks: Sequence[FileOfDisk]) -> Iterator[Element]:
    cores = machine.cores_per_socket
    more = (Element("vmw:CoresPerSocket", {"ovf:required": False}, str(cores)),) if cores > 1 else ()
    yield _item(
        1, _CPU, f"{machine.cpus} virtual CPUs", more, AllocationUnits="hertz * 10^6", VirtualQuantity=machine.cpus
    )
    yield _item(
        2, _MEMORY, f"{machine.memory_mib} MiB of memory", AllocationUnits="byte * 2^20",
        VirtualQuantity=machine.memory_mib,
    )  # fmt: skip
    controllers: dict[tuple[ControllerKind, int], int] = {}
    for each in sorted(disks, key=lambda each: (each.disk.controller, each.disk.bus)):
        address = (each.disk.controller, each.disk.bus)
        if address not in controllers:
            controllers[address] = number = 3 + len(controllers)
            yield _controller(number, each.disk)
    number = 3 + len(controllers)
    for at, each in enumerate(disks, start=1):
        yield _item(
            number, _DISK, each.disk.label, AddressOnParent=each.disk.unit, HostResource=f"ovf:/disk/vmdisk{at}",
            Parent=controllers[each.disk.controller, each.disk.bus],
        )  # fmt: skip
        number += 1
    for unit, card in enumerate(machine.cards):
        mac = usable_mac(card.mac)
        yield _item(
            number, _CARD, card.label, Address=mac, AddressOnParent=7 + unit,
            AutomaticAllocation=card.connected, Connection=network_name(card),
            ResourceSubType=_CARDS.get(card.model, "VmxNet3"),
        )  # fmt: skip
        number += 1


def _controller(number: int, disk: PortableDisk) -> Element:
    kind, sub_type = _CONTROLLERS.get(disk.controller_type, _BY_KIND[disk.controller])
    name = f"{disk.controller.upper()} controller {disk.bus}"
    return _item(number, kind, name, Address=disk.bus, ResourceSubType=sub_type or None)


def _item(number: int, kind: int, name: str, more: Sequence[Element] = (), **settings: object) -> Element:
    """Return an item of the hardware. The schema wants its settings in the order of the alphabet.

    :param settings: by name; one that is ``None`` is left out, because nothing is known of it.
    """
    known = {
        "ElementName": one_line(name) or f"device {number}",
        "InstanceID": number,
        "ResourceType": kind,
        **settings,
    }
    return Element("Item", content=(
        *(Element(f"rasd:{key}", content=_words(value)) for key, value in sorted(known.items()) if value is not None),
        *more,
    ))  # fmt: skip


def _words(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
