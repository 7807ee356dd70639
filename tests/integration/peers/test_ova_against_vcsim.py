"""govmomi's own reader of OVF takes an OVA of ours, and imports it into its simulated vCenter and ESXi host."""

from __future__ import annotations

import random

import pytest

from tests.integration.peers.conftest import Govclient
from vmkeep.images import LocalPlace, export_point, import_images
from vmkeep.model.disk import ControllerKind
from vmkeep.model.exports import ImageFormat
from vmkeep.model.portable import Firmware, PortableCard, PortableDisk, PortableMachine
from vmkeep.repository import create_repository

pytestmark = pytest.mark.slow
MIB = 1 << 20
NAME = 'web "1" <ü> & co'


@pytest.fixture(scope="module")
def ova(tmp_path_factory):
    """An OVA of a machine with two disks at two controllers, and two cards; and that machine."""
    folder = tmp_path_factory.mktemp("ova")
    (folder / "0").write_bytes(random.Random(1).randbytes(MIB) + bytes(3 * MIB))
    (folder / "1").write_bytes(bytes(2 * MIB) + b"end".ljust(1024, b"\0"))
    repository = create_repository(str(folder / "repo"))
    point = import_images(repository, [folder / "0", folder / "1"], name="web")
    # vcsim knows no lsilogicsas, which vSphere writes and takes.
    types = ("ParaVirtualSCSIController", "VirtualLsiLogicController")
    machine = PortableMachine(
        name=NAME,
        cpus=4,
        memory_mib=3072,
        firmware=Firmware.EFI,
        guest_id="debian11_64Guest",
        hardware_version=17,
        annotation="line 1\nline <2>",
        disks=tuple(
            PortableDisk(
                label=image.disk.label, controller=ControllerKind.SCSI, controller_type=kind, bus=bus, unit=2,
                capacity=image.disk.capacity, key=image.disk.key,
            )
            for bus, (image, kind) in enumerate(zip(point.images, types, strict=True))
        ),
        cards=(
            PortableCard(label="Network adapter 1", model="vmxnet3", mac="00:50:56:00:00:01", network="VM <Network>"),
            PortableCard(label="Network adapter 2", model="e1000e", mac=None, network=""),
        ),
    )  # fmt: skip
    export_point(
        repository, point, LocalPlace(folder), form=ImageFormat.OVA, name="web", machine=machine,
        on_progress=lambda _: lambda _: None,
    )  # fmt: skip
    return folder / "web.ova", machine


def test_govmomi_imports_an_ova_with_every_device(vcsim, programs, ova):
    packed, machine = ova
    server = vcsim.vcenter
    client = Govclient(
        programs / "govclient", f"https://{server.host}:{server.port}/sdk", server.user, server.password,
        server.thumbprint or "",
    )  # fmt: skip

    made = client("ova.import", str(packed), "imported")

    system = made["envelope"]["VirtualSystem"]
    assert system["Name"] == machine.name
    assert system["Annotation"][0]["Annotation"] == machine.annotation
    networks = [each["Name"] for each in made["envelope"]["Network"]["Networks"]]
    assert networks == ["VM <Network>", "VM Network"]
    files = {each["Href"]: each["Size"] for each in made["envelope"]["References"]}
    assert sorted(files) == ["web-disk0.vmdk", "web-disk1.vmdk"]
    assert made["sent"] == files
    assert made["name"] == "imported"
    config = made["config"]
    assert (config["GuestId"], config["Version"]) == (machine.guest_id, "vmx-17")
    hardware = config["Hardware"]
    assert (hardware["NumCPU"], hardware["MemoryMB"]) == (machine.cpus, machine.memory_mib)
    disks = [device for device in hardware["Device"] if "CapacityInKB" in device]
    assert [disk["CapacityInKB"] << 10 for disk in disks] == [disk.capacity for disk in machine.disks]
    assert len({disk["ControllerKey"] for disk in disks}) == 2
    cards = [device for device in hardware["Device"] if "MacAddress" in device]
    assert len(cards) == len(machine.cards)
