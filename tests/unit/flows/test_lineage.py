"""A point is a parent only for the very VM and disk; what differs or is not known is said, and costs a full read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmkeep.flows.same_vm import other_history, other_vm
from vmkeep.model.disk import ChangeId, ControllerKind, Disk
from vmkeep.model.fullreason import FullReason
from vmkeep.model.point import BackupKind, DiskImage, VmIdentity

VM = VmIdentity(
    name="web01", key="5021", moref="vm-16", instance_uuid="5021", bios_uuid="4211", vcenter="vc-1",
    inventory_path="/DC/vm/web01", server="vc1.example",
)  # fmt: skip
BASE, FIRST, SECOND, OTHER = (f"[ds] web01/web01{suffix}.vmdk" for suffix in ("", "-000001", "-000002", "-000007"))
DISK = Disk(
    key=2000, label="Hard disk 1", controller=ControllerKind.SCSI, controller_type="ParaVirtualSCSIController", bus=0,
    unit=0, capacity=1 << 30, backing="FlatVer2", uuid="6000-a", file_name=BASE, chain=(BASE,),
)  # fmt: skip
IMAGE = DiskImage(disk=DISK, root="00", kind=BackupKind.FULL, reason="", change_id=ChangeId("52 de/7"))
NEXT = ChangeId("52 de/8")


def test_the_very_vm_is_known_again_whatever_it_is_called_and_wherever_it_stands():
    assert other_vm(VM, replace(VM, name="db", inventory_path="/DC/vm/x/db", server="10.0.0.1")) is None


@pytest.mark.parametrize("field", ["vcenter", "moref", "instance_uuid", "bios_uuid"])
def test_whatever_tells_two_vms_apart_is_named_with_both_values(field):
    why = other_vm(VM, replace(VM, **{field: "another"}))

    assert "another" in why
    assert getattr(VM, field) in why


@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize("field", ["vcenter", "moref", "instance_uuid", "bios_uuid"])
def test_what_is_not_known_is_not_the_same(field, value):
    unknown = replace(VM, **{field: value})

    for then, now in ((unknown, VM), (VM, unknown), (unknown, unknown)):
        assert "not known for certain" in other_vm(then, now)


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ((BASE,), (BASE,)),
        ((BASE,), (BASE, FIRST)),  # somebody took a snapshot since
        ((BASE, FIRST), (BASE,)),  # or removed one
        ((BASE, FIRST), (BASE, FIRST, SECOND)),
    ],
)
def test_a_disk_goes_on_where_snapshots_come_and_go(then, now):
    image = replace(IMAGE, disk=replace(DISK, chain=then))

    assert other_history(image, replace(DISK, chain=now, bus=1, key=2016), NEXT) is None


@pytest.mark.parametrize(
    ("changes", "change_id", "reason", "why"),
    [
        ({"uuid": "6000-b"}, NEXT, FullReason.OTHER_DISK, "another disk"),
        ({"uuid": None}, NEXT, FullReason.UNKNOWN_DISK, "no UUID"),
        ({"uuid": ""}, NEXT, FullReason.UNKNOWN_DISK, "no UUID"),
        ({"chain": ("[ds] web01-old/web01.vmdk",)}, NEXT, FullReason.MOVED, "another file now"),
        ({"chain": ("[replica] web01/web01.vmdk",)}, NEXT, FullReason.MOVED, "another file now"),
        ({"chain": ()}, NEXT, FullReason.UNKNOWN_DISK, "does not tell"),
        ({}, ChangeId("52 de/7"), FullReason.SAME_CHANGE_ID, "that of the last point"),
    ],
)
def test_a_disk_that_may_have_another_history_is_read_in_full(changes, change_id, reason, why):
    full = other_history(IMAGE, replace(DISK, **changes), change_id)

    assert full.reason is reason
    assert why in full.text


def test_a_chain_that_branches_off_went_back_to_a_snapshot_even_if_change_ids_fit():
    image = replace(IMAGE, disk=replace(DISK, chain=(BASE, FIRST)))

    full = other_history(image, replace(DISK, chain=(BASE, OTHER)), NEXT)

    assert full.reason is FullReason.REVERTED
    assert "went back to a snapshot" in full.text


def test_a_point_that_does_not_tell_its_files_was_made_by_an_older_vmkeep():
    full = other_history(replace(IMAGE, disk=replace(DISK, chain=())), DISK, NEXT)

    assert full.reason is FullReason.UNKNOWN_DISK
    assert "older vmkeep" in full.text
