"""A saved machine becomes a domain that libvirt's own schema and its QEMU driver take."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given

from tests.libvirt import native
from tests.patience import HANG
from tests.unit.hypervisors.conftest import ODD_MACHINE, card, disk, files_of, machine, machines
from vmkeep.hypervisors import Wishes, libvirt_xml
from vmkeep.model.disk import ControllerKind
from vmkeep.model.portable import Drivers, Firmware

GUESTS = ("debian12_64Guest", "rhel9_64Guest", "windows2019srv_64Guest", "winXPProGuest", "otherGuest")


def domain(described, **wishes):
    return ET.fromstring(libvirt_xml(described, files_of(described), Wishes(**wishes)))


def validated(*texts, folder):
    """Whether xmllint finds texts valid by the schema that libvirt installs."""
    paths = []
    for at, text in enumerate(texts):
        paths.append(folder / f"{at}.xml")
        paths[-1].write_text(text)
    schema = "/usr/share/libvirt/schemas/domain.rng"
    ended = subprocess.run(
        ["xmllint", "--noout", "--relaxng", schema, *paths], capture_output=True, text=True, timeout=HANG, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return True


def test_every_kind_of_domain_is_valid_by_libvirts_schema(tmp_path):
    eight = tuple(disk(number) for number in range(8))
    kinds = [
        machine(guest_id=guest, firmware=firmware, secure_boot=secure, disks=eight, cards=(card(), card(1)))
        for guest in GUESTS
        for firmware, secure in ((Firmware.BIOS, False), (Firmware.EFI, False), (Firmware.EFI, True))
    ]
    odd = (ODD_MACHINE, machine(disks=(), cards=(), bios_uuid="not one", annotation="", name="\n"))
    made = [
        libvirt_xml(each, files_of(each), Wishes(drivers=drivers, networks={"VM Network": "bridge:br0"}))
        for each in (*kinds, *odd)
        for drivers in Drivers
    ]

    assert validated(*made, folder=tmp_path)


@given(machines)
def test_a_domain_is_well_formed_whatever_the_machine_is_called(described):
    root = domain(described)

    assert root.findtext("name")
    assert "/" not in root.findtext("name")
    assert len(root.findall("devices/disk")) == len(described.disks)
    assert len(root.findall("devices/interface")) == len(described.cards)


@pytest.fixture
def open_folder():
    """A folder that any user may write to, and reach."""
    with tempfile.TemporaryDirectory(prefix="vmkeep-libvirt-", dir="/tmp", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o777)
        yield Path(made)


@pytest.mark.parametrize("drivers", Drivers)
def test_libvirts_own_driver_makes_a_qemu_command_of_it(open_folder, drivers):
    described = machine(disks=(disk(0), disk(1)), cards=(), guest_id="windows2019srv_64Guest")

    command = native(libvirt_xml(described, files_of(described), Wishes(drivers=drivers, folder="/a b")), open_folder)

    assert "/a b/disk-0.qcow2" in command
    assert ("virtio-scsi" in command, "ahci" in command) == (drivers is Drivers.VIRTIO, drivers is Drivers.SAFE)


def test_the_identity_and_the_addresses_are_kept():
    described = machine(cards=(card(), card(1, connected=False, network="lab")))

    root = domain(described, networks={"lab": "bridge:br7"})

    assert root.findtext("uuid") == described.bios_uuid
    assert [each.get("address") for each in root.findall("devices/interface/mac")] == [
        "00:50:56:aa:bb:00", "00:50:56:aa:bb:01",
    ]  # fmt: skip
    assert [each.attrib for each in root.findall("devices/interface/source")] == [
        {"network": "default"}, {"bridge": "br7"},
    ]  # fmt: skip
    assert [each.find("link") is not None for each in root.findall("devices/interface")] == [False, True]
    assert root.find("cpu/topology").attrib == {"sockets": "2", "cores": "2", "threads": "1"}


def test_the_machine_starts_from_the_disk_it_started_from():
    described = machine(
        disks=(disk(0), disk(1), disk(2, kind=ControllerKind.NVME)), boot_disk=2001, firmware=Firmware.EFI
    )

    disks = domain(described).findall("devices/disk")

    assert [each.find("source").get("file").rpartition("/")[2] for each in disks] == [
        "disk-1.qcow2", "disk-0.qcow2", "disk-2.qcow2",
    ]  # fmt: skip
    assert [each.find("boot").get("order") for each in disks] == ["1", "2", "3"]
    assert len({each.find("target").get("dev") for each in disks}) == 3


def test_firmware_stays_what_it_was_and_only_signed_guests_get_enrolled_keys():
    bios, efi, secure = (
        domain(machine(firmware=firmware, secure_boot=keys))
        for firmware, keys in ((Firmware.BIOS, False), (Firmware.EFI, False), (Firmware.EFI, True))
    )

    assert [root.find("os").get("firmware") for root in (bios, efi, secure)] == [None, "efi", "efi"]
    assert [root.find("os/type").get("machine") for root in (bios, efi, secure)] == ["pc", "q35", "q35"]
    enrolled = [
        feature.get("enabled")
        for root in (efi, secure)
        for feature in root.iter("feature")
        if feature.get("name") == "enrolled-keys"
    ]
    assert enrolled == ["no", "yes"]
    assert secure.find("features/smm") is not None


@pytest.mark.parametrize(
    ("guest", "bus", "model"),
    [
        ("debian12_64Guest", "scsi", "virtio"),
        ("rhel9_64Guest", "sata", "e1000e"),
        ("windows2019srv_64Guest", "sata", "e1000e"),
        ("winXPProGuest", "ide", "e1000"),
        ("unheardOfGuest", "sata", "e1000e"),
    ],
)
def test_a_guest_gets_devices_that_it_surely_has_drivers_for(guest, bus, model):
    root = domain(machine(guest_id=guest))

    assert root.find("devices/disk/target").get("bus") == bus
    assert root.find("devices/interface/model").get("type") == model


def test_more_disks_than_ide_takes_go_on_sata_with_names_of_their_own():
    root = domain(machine(guest_id="winXPProGuest", disks=tuple(disk(number) for number in range(6))))

    names = [each.get("dev") for each in root.findall("devices/disk/target")]

    assert names == ["hda", "hdb", "hdc", "hdd", "sda", "sdb"]
