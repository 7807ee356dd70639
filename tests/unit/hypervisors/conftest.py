"""Machines to describe, with names that have everything odd in them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from vmkeep.hypervisors import WrittenDisk
from vmkeep.model.disk import ControllerKind
from vmkeep.model.portable import Firmware, PortableCard, PortableDisk, PortableMachine

GIB = 1 << 30
ODD = "we\"b <&> '1'/ü $(id) `id` \\ ;\n]]> -- 日本 \x01"
TYPES = {
    ControllerKind.SCSI: "ParaVirtualSCSIController",
    ControllerKind.SATA: "VirtualAHCIController",
    ControllerKind.NVME: "VirtualNVMEController",
    ControllerKind.IDE: "VirtualIDEController",
}


def disk(number: int, *, kind: ControllerKind = ControllerKind.SCSI, capacity: int = 40 * GIB) -> PortableDisk:
    """A disk at a unit of the first bus."""
    return PortableDisk(
        label=f"Hard disk {number + 1}", controller=kind, controller_type=TYPES[kind], bus=0, unit=number,
        capacity=capacity, key=2000 + number,
    )  # fmt: skip


def card(number: int = 0, **more: Any) -> PortableCard:
    """A network card."""
    given = {"label": f"Network adapter {number + 1}", "model": "vmxnet3", "mac": f"00:50:56:aa:bb:{number:02x}"}
    return PortableCard(**(given | {"network": "VM Network"} | more))


def machine(**more: Any) -> PortableMachine:
    """A machine with one disk and one card."""
    given: dict[str, Any] = {
        "name": "web01", "cpus": 4, "cores_per_socket": 2, "memory_mib": 4096, "guest_id": "debian12_64Guest",
        "hardware_version": 19, "bios_uuid": "564d1234-aaaa-bbbb-cccc-0123456789ab", "disks": (disk(0),),
        "cards": (card(),),
    }  # fmt: skip
    return PortableMachine(**(given | more))


def files_of(described: PortableMachine, **more: Any) -> list[WrittenDisk]:
    """A file for each disk of a machine."""
    given: list[dict[str, Any]] = [
        {"key": each.key, "name": f"disk-{at}.qcow2", "size": 123 + at, "populated": 45}
        for at, each in enumerate(described.disks)
    ]
    return [WrittenDisk(**(each | more)) for each in given]


ODD_MACHINE = machine(
    name=ODD,
    annotation=ODD,
    guest_name=ODD,
    firmware=Firmware.EFI,
    secure_boot=True,
    disks=(disk(0), disk(1, capacity=3 * GIB + 512), disk(2, kind=ControllerKind.NVME)),
    cards=(card(label=ODD, network=ODD), card(1, mac="ff:ff:ff:ff:ff:ff", network="", connected=False)),
)

texts = st.text(
    st.sampled_from("aZ09 _-./:;,=\"'<>&$`\\|()[]{}*?!#~%\n\r\t\x00\x01\x7f\x85\u2028ü日\ufffe\U0001f4be"), max_size=12
)
machines = st.builds(
    machine,
    name=texts,
    annotation=texts,
    guest_name=texts,
    guest_id=st.sampled_from(["debian12_64Guest", "rhel9_64Guest", "windows2019srv_64Guest", "winXPProGuest", "x"]),
    firmware=st.sampled_from(Firmware),
    secure_boot=st.booleans(),
    bios_uuid=st.none() | texts,
    cards=st.lists(st.builds(card, label=texts, network=texts, mac=st.none() | texts, model=texts), max_size=3).map(
        tuple
    ),
    disks=st.integers(0, 8).map(lambda count: tuple(disk(number) for number in range(count))),
)
"""Any machine, with any text where vSphere takes any."""


@pytest.fixture
def odd_machine() -> PortableMachine:
    """A machine whose every text has specials of XML and of shells."""
    return ODD_MACHINE
