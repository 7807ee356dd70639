"""After a lie, the points in doubt are those from the last full read of the disk on, of this very VM, and no others."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from vmkeep.model.audit import Audit
from vmkeep.model.disk import ControllerKind, Disk
from vmkeep.model.job import Cursor, DiskJob, Progress
from vmkeep.model.point import BackupKind, BackupMode, Consistency, DiskImage, Quiesce, RestorePoint, VmIdentity
from vmkeep.model.vmref import VmRef
from vmkeep.transfer.auditing import OnceAllocated
from vmkeep.transfer.increments import decide_reading, suspect_chain

BLOCK = 65536
VM = VmIdentity(name="web01", key="5021", moref="vm-16", instance_uuid="5021", vcenter="vc-1")
DISK = Disk(
    key=2000, label="Hard disk 1", controller=ControllerKind.SCSI, controller_type="ParaVirtualSCSIController", bus=0,
    unit=0, capacity=4 * BLOCK, backing="FlatVer2", uuid="6000-a", file_name="[ds1] a/a.vmdk",
)  # fmt: skip
BEGIN = datetime(2026, 5, 4, tzinfo=UTC)
FULL, INCREMENTAL = BackupKind.FULL, BackupKind.INCREMENTAL


@pytest.fixture
def chain(repository, disk, back_up):
    """Seal points of one history, the oldest first, and return their refs."""
    root = back_up(disk(bytes(4 * BLOCK)), repository).root

    def seal(*kinds, vm=VM, uuid="6000-a", day=0):
        refs = []
        for number, kind in enumerate(kinds):
            taken_at = BEGIN + timedelta(days=day + number)
            image = DiskImage(disk=replace(DISK, uuid=uuid), root=root, kind=kind, reason="")
            point = RestorePoint(
                id=f"{day + number:016x}", vm=vm, taken_at=taken_at, run=f"{day}-{number}",
                mode_asked=BackupMode.ASIS, mode_used=BackupMode.ASIS, quiesce_asked=Quiesce.NONE,
                consistency=Consistency.CRASH, images=(image,),
            )  # fmt: skip
            refs.append(repository.seal(point))
        return refs

    return seal


def suspect(repository, parent):
    return suspect_chain(repository, parent, DISK, reason="it lied")


def test_the_increments_since_the_last_full_are_suspect_and_older_ones_are_not(repository, chain):
    *_, _full, second, last = chain(FULL, INCREMENTAL, FULL, INCREMENTAL, INCREMENTAL)

    assert suspect(repository, last) == (last, second)
    assert set(repository.marks.all()) == {last, second}


def test_a_lie_after_a_full_puts_no_point_in_doubt(repository, chain):
    (full,) = chain(FULL)

    assert suspect(repository, full) == ()


def test_points_of_a_copy_of_the_vm_are_not_touched(repository, chain):
    _, second = chain(FULL, INCREMENTAL)
    chain(FULL, INCREMENTAL, vm=replace(VM, moref="vm-99"), day=10)
    (third,) = chain(INCREMENTAL, day=20)

    assert suspect(repository, third) == (third, second)


def test_a_point_with_another_disk_ends_the_doubt(repository, chain):
    chain(INCREMENTAL)
    chain(INCREMENTAL, uuid="6000-b", day=1)
    (last,) = chain(INCREMENTAL, day=2)

    assert suspect(repository, last) == (last,)


def test_a_parent_that_was_forgotten_meanwhile_marks_nothing(repository):
    assert suspect(repository, "5021/20260101T000000Z-0000000000000000") == ()


def decide(repository, source, root, *, cursor=None, audit=None):
    job = DiskJob(
        run="r", vm=VmRef(moref="vm-16", name="web01"), snapshot="s-1", disk=DISK, kind=INCREMENTAL, reason="changes",
        change_id=None, extents="extents", parent_root=root, audit=audit,
    )  # fmt: skip
    return decide_reading(
        job, OnceAllocated(source), repository, extents=(), cursor=cursor, on_progress=lambda _: None,
        check=lambda: None,
    )  # fmt: skip


def test_a_retry_of_a_full_that_a_lie_has_forced_goes_on_as_a_full(repository, disk, back_up):
    root = back_up(disk(bytes(4 * BLOCK)), repository).root
    lied = Audit(phase=0, of=1, blocks=4, lies=1, first_lie=0)
    cursor = Cursor(snapshot="s-1", offset=BLOCK, root=root, audit=lied)

    again = decide(repository, disk(bytes(4 * BLOCK)), root, cursor=cursor)

    assert (again.kind, again.extents, again.cursor, again.audit) == (FULL, None, cursor, lied)


def test_a_position_of_another_kind_of_reading_is_not_used(repository, disk, back_up):
    root = back_up(disk(bytes(4 * BLOCK)), repository).root
    lied = Audit(phase=0, of=1, blocks=4, lies=1, first_lie=0)
    elsewhere = Cursor(snapshot="s-0", offset=BLOCK, root=root, audit=lied)

    reading = decide(repository, disk(bytes(4 * BLOCK)), root, cursor=elsewhere)

    assert (reading.kind, reading.cursor) == (INCREMENTAL, None)


def test_the_positions_of_a_copy_hold_the_outcome_of_its_audit(repository, disk, back_up):
    root = back_up(disk(bytes(4 * BLOCK)), repository).root
    reading = decide(repository, disk(bytes(4 * BLOCK)), root)
    told = []
    cursor = Cursor(snapshot="s-1", offset=0, root=root)

    replace(reading, audit=Audit(phase=1, of=2)).noted(told.append)(
        Progress(phase="backup", bytes_done=0, bytes_total=0, cursor=cursor)
    )

    assert told[0].cursor.audit == Audit(phase=1, of=2)
