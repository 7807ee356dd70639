"""The scripts for Proxmox and OpenStack say to qm and openstack exactly what the machine is, whatever it is called."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings

from tests.patience import HANG
from tests.unit.hypervisors.conftest import ODD, ODD_MACHINE, card, disk, files_of, machine, machines
from vmkeep.errors import UnsupportedError
from vmkeep.hypervisors import Wishes, WrittenDisk, openstack_properties, openstack_script, proxmox_script
from vmkeep.hypervisors.written import host_name
from vmkeep.model.portable import Drivers, Firmware

RECORDER = f"""#!{sys.executable} -SE
import json, os, sys
with open(os.environ["RECORD"], "a") as record:
    record.write(json.dumps(sys.argv[1:]) + "\\n")
if os.environ.get("FAIL_AT") in sys.argv:
    sys.exit(1)
print("id-" + sys.argv[1])
"""


def run(script, *arguments, folder, program, files, fail_at=""):
    """Run a script beside its files, with a program that only notes its arguments. Return those, and the result."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / program).write_text(RECORDER)
    (tools / program).chmod(0o755)
    place = folder / "with blank"
    place.mkdir(exist_ok=True)
    (place / "it.sh").write_text(script)
    for name in files:
        (place / name).touch()
    record = folder / "record"
    record.unlink(missing_ok=True)
    ended = subprocess.run(
        ["bash", place / "it.sh", *arguments], cwd="/", capture_output=True, text=True, timeout=HANG, check=False,
        env={"PATH": f"{tools}:{os.environ['PATH']}", "RECORD": str(record), "FAIL_AT": fail_at},
    )  # fmt: skip
    calls = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    return calls, ended


def options(call):
    """The options of a call of qm, by name."""
    at = 2
    return {call[i].removeprefix("--"): call[i + 1] for i in range(at, len(call), 2)}


def test_qm_is_told_the_machine_and_takes_each_disk_from_its_file(tmp_path):
    described = machine(firmware=Firmware.EFI, disks=(disk(0), disk(1)), cards=(card(), card(1, connected=False)))
    files = files_of(described, name='it\'s $(x) "q".qcow2')[:1] + files_of(described)[1:]

    script = proxmox_script(described, files, Wishes(networks={"VM Network": "vmbr9"}))
    calls, ended = run(script, "120", "local-lvm", folder=tmp_path, program="qm", files=[each.name for each in files])

    assert ended.returncode == 0, ended.stderr
    created = options(calls[0])
    assert calls[0][:2] == ["create", "120"]
    assert (created["name"], created["memory"], created["sockets"], created["cores"]) == ("web01", "4096", "2", "2")
    assert (created["bios"], created["machine"], created["ostype"]) == ("ovmf", "q35", "l26")
    assert created["net0"] == "virtio=00:50:56:AA:BB:00,bridge=vmbr9"
    assert created["net1"] == "virtio=00:50:56:AA:BB:01,bridge=vmbr9,link_down=1"
    assert created["smbios1"] == f"uuid={described.bios_uuid}"
    sets = {name: value for call in calls[1:] for name, value in options(call).items()}
    here = tmp_path / "with blank"
    assert sets["efidisk0"] == "local-lvm:0,efitype=4m,pre-enrolled-keys=0"
    assert sets["scsi0"] == f"local-lvm:0,import-from={here}/{files[0].name},discard=on,iothread=1"
    assert sets["scsi1"] == f"local-lvm:0,import-from={here}/{files[1].name},discard=on,iothread=1"
    assert sets["boot"] == "order=scsi0;scsi1"


def test_nothing_in_a_name_becomes_a_command(tmp_path):
    script = proxmox_script(ODD_MACHINE, files_of(ODD_MACHINE), Wishes(), script=ODD)
    calls, ended = run(
        script, "120", "s", folder=tmp_path, program="qm", files=[each.name for each in files_of(ODD_MACHINE)]
    )

    assert ended.returncode == 0, ended.stderr
    assert len(calls) == 1 + 1 + 3 + 1
    described = options(calls[0])
    assert described["name"] == host_name(ODD)
    assert "$(id) `id` \\ ;" in described["description"]
    assert described["net1"] == "virtio,bridge=vmbr0,link_down=1"  # because no card can have that address


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(machines)
def test_scripts_are_sound_shell_for_any_machine(described):
    for write in (proxmox_script, openstack_script):
        script = write(described, files_of(described), Wishes(drivers=Drivers.VIRTIO))
        ended = subprocess.run(["bash", "-n"], input=script.encode(), capture_output=True, timeout=HANG, check=False)
        assert ended.returncode == 0, ended.stderr


def test_a_missing_file_stops_the_script_before_a_vm_is_made(tmp_path):
    described = machine(disks=(disk(0), disk(1)))

    calls, ended = run(
        proxmox_script(described, files_of(described), Wishes()), "1", "s",
        folder=tmp_path, program="qm", files=["disk-0.qcow2"],
    )  # fmt: skip

    assert (calls, ended.returncode) == ([], 2)
    assert "disk-1.qcow2 is not there" in ended.stderr


def test_a_failed_command_says_how_to_remove_the_unfinished_vm(tmp_path):
    described = machine()

    calls, ended = run(
        proxmox_script(described, files_of(described), Wishes()), "120", "s",
        folder=tmp_path, program="qm", files=["disk-0.qcow2"], fail_at="--scsi0",
    )  # fmt: skip

    assert ended.returncode == 1
    assert "qm destroy 120 --purge" in ended.stderr
    assert len(calls) == 2


def test_a_file_that_qm_cannot_be_told_is_refused():
    with pytest.raises(UnsupportedError, match="comma"):
        proxmox_script(machine(), [WrittenDisk(key=2000, name="a,b.qcow2", size=1)], Wishes())


def test_more_disks_than_a_bus_takes_are_refused_with_the_remedy():
    described = machine(disks=tuple(disk(number) for number in range(7)))

    assert "--scsi6" in proxmox_script(described, files_of(described), Wishes(drivers=Drivers.VIRTIO))
    with pytest.raises(UnsupportedError, match="--drivers virtio"):
        proxmox_script(described, files_of(described), Wishes(drivers=Drivers.SAFE))


def test_openstack_gets_an_image_of_each_disk_and_volumes_of_several(tmp_path):
    files = files_of(ODD_MACHINE)

    calls, ended = run(
        openstack_script(ODD_MACHINE, files, Wishes()), "--private",
        folder=tmp_path, program="openstack", files=[each.name for each in files],
    )  # fmt: skip

    assert ended.returncode == 0, ended.stderr
    assert [call[:2] for call in calls] == [["image", "create"]] * 3 + [["volume", "create"]] * 3
    first = calls[0]
    properties = [first[at + 1] for at, word in enumerate(first) if word == "--property"]
    assert properties == [f"{name}={value}" for name, value in openstack_properties(ODD_MACHINE, Wishes()).items()]
    assert "--private" in first
    assert first[first.index("--min-disk") + 1] == "40"
    assert calls[1][calls[1].index("--min-disk") + 1] == "4"  # 3 GiB and a sector
    assert [("--bootable" in call, call[call.index("--image") + 1]) for call in calls[3:]] == [
        (True, "id-image"), (False, "id-image"), (False, "id-image"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("described", "drivers", "expected"),
    [
        (machine(), None, {"hw_disk_bus": "scsi", "hw_scsi_model": "virtio-scsi", "hw_vif_model": "virtio"}),
        (machine(guest_id="windows2019srv_64Guest"), None, {"hw_disk_bus": "sata", "os_type": "windows"}),
        (machine(firmware=Firmware.EFI, secure_boot=True), None, {"os_secure_boot": "required"}),
        (machine(guest_id="rhel9_64Guest"), Drivers.VIRTIO, {"hw_disk_bus": "scsi", "os_distro": "rhel"}),
    ],
)
def test_nova_makes_the_devices_that_the_guest_needs(described, drivers, expected):
    properties = openstack_properties(described, Wishes(drivers=drivers))

    assert expected.items() <= properties.items()
