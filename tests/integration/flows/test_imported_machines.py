"""A machine of another program goes onto vSphere: imported, restored as a new VM, and equal byte by byte."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import uuid

import pytest

from tests.integration.flows.restoring import back_up, devices, hands, restore_whole, site_of, stored
from tests.ova import make_ova
from vmkeep.errors import UsageError
from vmkeep.repository import create_repository
from vmkeep.vsphere.api import vim

MIB = 1 << 20
STORE = "datastore1"


def disk(path, size, form, *more):
    raw = path.with_suffix(".raw")
    with raw.open("wb") as file:
        file.truncate(size)
        file.seek(size // 2 - 512)
        file.write(random.Random(path.name).randbytes(200_704))
        file.seek(size - 512)
        file.write(b"e" * 512)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", form, *more, raw, path], check=True)
    return path, hashlib.sha256(raw.read_bytes()).hexdigest()


@pytest.fixture
def site(lab, tmp_path):
    create_repository(str(tmp_path / "repository"))
    return site_of(lab, tmp_path / "repository")


def imported(vmkeep, site, *arguments):
    done = vmkeep("image", "import", *map(str, arguments), "--json", "--repository", site.repository)
    return json.loads(done.stdout)


def test_an_ova_becomes_a_new_vm_with_equal_disks_and_an_identity_of_its_own(lab, vmkeep, site, tmp_path):
    first, second = (
        disk(tmp_path / f"web01-disk{number}.vmdk", number * 3 * MIB, "vmdk", "-o", "subformat=streamOptimized")
        for number in (1, 2)
    )
    ova = make_ova(tmp_path / "web01.ova", {first[0]: 3 * MIB, second[0]: 6 * MIB})

    told = imported(vmkeep, site, ova, "--name", "web01")
    name = f"imported-{uuid.uuid4().hex[:6]}"
    with pytest.raises(
        UsageError, match=r"choose one with --datastore \(Airflow: datastore\); host esx0\d\.localhost has"
    ):
        restore_whole(site, told["point"], new_name=name)
    made = restore_whole(site, told["point"], new_name=name, datastore=STORE)

    assert told["formats"] == ["web01.ova: ova", "web01-disk1.vmdk: vmdk", "web01-disk2.vmdk: vmdk"]
    with hands(lab) as session:
        config = session.vm(made.vm.moref).config
        assert (config.hardware.numCPU, config.hardware.memoryMB, config.version) == (2, 1024, "vmx-19")
        assert (config.guestId, config.firmware) == ("debian12_64Guest", "bios")
    there = devices(lab, name)
    assert [type(each).__name__ for each in there if isinstance(each, vim.vm.device.VirtualSCSIController)] == [
        "vim.vm.device.ParaVirtualSCSIController"
    ]
    (card,) = (each for each in there if isinstance(each, vim.vm.device.VirtualEthernetCard))
    assert card.backing.deviceName == "VM Network"
    again = back_up(site, name).point
    assert stored(site.repository, again, tmp_path) == {2000: first[1], 2001: second[1]}


def test_disks_alone_become_a_vm_if_their_machine_is_told_and_else_the_way_is_named(lab, vmkeep, site, tmp_path):
    image, digest = disk(tmp_path / "root.qcow2", 3 * MIB, "qcow2")
    alone = imported(vmkeep, site, image, "--name", "kvm01")
    with pytest.raises(UsageError, match=r"nothing of its machine was told.*--guest-id"):
        restore_whole(site, alone["point"], new_name="never")

    told = imported(vmkeep, site, image, "--name", "kvm01", "--guest-id", "debian12_64Guest", "--firmware", "efi",
                    "--memory", "3000")  # fmt: skip
    name = f"imported-{uuid.uuid4().hex[:6]}"
    made = restore_whole(site, told["point"], new_name=name, datastore=STORE)

    with hands(lab) as session:
        config = session.vm(made.vm.moref).config
        assert (config.hardware.numCPU, config.hardware.memoryMB, config.firmware) == (1, 3000, "efi")
    assert list(stored(site.repository, back_up(site, name).point, tmp_path).values()) == [digest]


def test_a_disk_of_an_odd_number_of_sectors_gets_whole_kib_in_a_new_vm_and_all_its_bytes(lab, vmkeep, site, tmp_path):
    content = random.Random(1).randbytes(2049 * 512)
    (tmp_path / "odd.raw").write_bytes(content)

    told = imported(vmkeep, site, tmp_path / "odd.raw", "--name", "odd", "--cpus", "1")
    name = f"imported-{uuid.uuid4().hex[:6]}"
    restore_whole(site, told["point"], new_name=name, datastore=STORE)

    assert "which are no whole KiB" in told["notes"][0]
    (made,) = (each for each in devices(lab, name) if isinstance(each, vim.vm.device.VirtualDisk))
    assert (made.capacityInKB, int(made.capacityInBytes)) == (1025, 1025 << 10)
    digest = hashlib.sha256(content + bytes(512)).hexdigest()
    assert list(stored(site.repository, back_up(site, name).point, tmp_path).values()) == [digest]
