"""lvm2's own ``pvck`` reads what the tests write, and finds in it what our reader finds."""

import os
import re
import subprocess

import pytest

from tests.guest_disks import in_guest
from tests.unit.guest.lvmdisks import AREA_AT, MIB, Area, Group, Label, Pv, disk_of, uuid_of
from vmkeep.guest.lvm import read_lvm

PV = Pv()
GROUP = Group(pvs=(PV, Pv(name="pv1", uuid=uuid_of(1))), lvs=((uuid_of(71), "root"),))
TEXT = GROUP.text()
SIZE = MIB - AREA_AT
LABELS = {
    "plain": Label(areas=(Area(text=TEXT),)),
    "two areas": Label(areas=(Area(text=TEXT), Area(text=TEXT, at=8 * MIB, size=MIB))),
    "wrapped": Label(areas=(Area(text=TEXT, text_at=SIZE - 700),)),
    "without an area": Label(),
    "ignored": Label(areas=(Area(text=TEXT, is_ignored=True),)),
}


def pvck(image, what):
    done = subprocess.run(
        ["pvck", "--dump", what, image], check=False, capture_output=True, text=True, timeout=60,
        env=os.environ | {"LVM_SUPPRESS_FD_WARNINGS": "1"},
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", LABELS)
def test_what_the_tests_write_is_lvm_by_its_own_tool(name, tmp_path):
    disk = disk_of(LABELS[name])
    image = tmp_path / "pv"
    image.write_bytes(disk.content)
    headers = pvck(image, "headers")
    state = read_lvm(in_guest(disk))

    assert "CHECK" not in headers
    assert f"pv_header.pv_uuid {PV.uuid.replace('-', '')}" in headers
    assert [label.uuid for label in state.labels] == [PV.uuid]
    sums = re.findall(r"metadata text at \d+ crc (0x[0-9a-f]+) # vgname (\S+) seqno (\d+)", headers)
    assert sums == [
        (f"{copy.checksum:#x}", copy.group.name, str(copy.group.seqno)) for copy in state.copies if copy.group
    ]
    assert len(sums) == sum(bool(area.text) and not area.is_ignored for area in LABELS[name].areas)


@pytest.mark.parametrize("name", ["ib", "iib", "ivb", "lvm-two", "lvm-wrap-a", "lvm-raid1x", "lvm-split-a"])
def test_a_real_volume_is_read_as_pvck_reads_it(name, guest_disks):
    """``pvck`` knows no partition tables, so these are volumes on whole disks."""
    copies = read_lvm(guest_disks.disks(name)).copies
    headers = pvck(guest_disks.path(name), "headers")

    assert len(copies) == headers.count(".magic ")
    for copy in copies:
        assert f"crc {copy.checksum:#x} # vgname {copy.group.name} seqno {copy.group.seqno}" in headers
        assert f"mda_header_{copy.area}.start {copy.start}" in headers
