"""A restore writes all disks of a VM in one way: the first of the request that can write every one of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.flows.test_modes import VM
from tests.unit.flows.test_transports import MACHINE, around, disk
from vmkeep.errors import UnsupportedError
from vmkeep.flows.write_ways import WriteGround, choose_way
from vmkeep.model.disk import ControllerKind, SkipReason
from vmkeep.model.overwrite import Undo
from vmkeep.model.room import StoreNeed
from vmkeep.model.transport import TransportMode
from vmkeep.model.writeway import TemporarySnapshot

SAN, HOTADD, NBDSSL, NBD = TransportMode
WRITER = replace(MACHINE, writable=MACHINE.disks)
GROUND = WriteGround(around=around(machine=WRITER), vm=VM, written=(disk(thin=False), disk(2001, thin=False)))
LVM = replace(GROUND, around=around(machine=replace(MACHINE, why_lvm="LVM would use it")))


@pytest.mark.parametrize(
    ("asked", "modes", "snapshot"),
    [
        ((SAN, NBDSSL), (SAN,), TemporarySnapshot.BELOW),
        ((HOTADD, NBDSSL, NBD), (HOTADD, NBDSSL, NBD), TemporarySnapshot.ABOVE),
        ((NBD, SAN, NBDSSL), (NBD, NBDSSL), TemporarySnapshot.NONE),
    ],
)
def test_the_first_mode_is_taken_and_san_never_with_another_that_would_write_above_the_snapshot(asked, modes, snapshot):
    way = choose_way(GROUND, asked)

    assert (way.modes, way.snapshot, way.why) == (modes, snapshot, "")


AGAINST_SAN = {
    "a thin disk": ({"written": (disk(thin=False), disk(2001, thin=True))}, "Hard disk 2 is thin"),
    "a disk that may be thin": ({"written": (disk(),)}, "Hard disk 1 is thin"),
    "a way back": ({"undo": Undo.SNAPSHOT}, "a snapshot is kept to undo the restore"),
    "older snapshots": ({"vm": replace(VM, has_snapshots=True)}, "the VM has snapshots"),
    "a LUN that it may only read": ({"around": around(machine=MACHINE)}, "and not write to it"),
    "no LUN": ({"around": around(machine=replace(MACHINE, disks=frozenset()))}, "no readable LUN"),
}
AGAINST_BOTH = {
    "an independent disk": (
        {"written": (disk(thin=False, skip=SkipReason.INDEPENDENT),)}, "Hard disk 1 is independent, and in no snapshot",
    ),
    "a physical RDM": (
        {"written": (disk(thin=False, compatibility_mode="physicalMode"),)}, "Hard disk 1 is a physical-mode RDM",
    ),
    "a VM without snapshots": ({"vm": replace(VM, snapshot_obstacles=("it shares its bus",))}, "it shares its bus"),
    "a missing right": ({"lacking": ("VirtualMachine.State.CreateSnapshot",)}, "State.CreateSnapshot on the VM"),
}  # fmt: skip


@pytest.mark.parametrize("case", [*AGAINST_SAN, *AGAINST_BOTH])
def test_san_is_passed_over_for_the_whole_vm_if_it_cannot_write_one_disk(case):
    fields, told = (AGAINST_SAN | AGAINST_BOTH)[case]

    way = choose_way(replace(GROUND, **fields), (SAN, NBD))

    assert (way.modes, way.snapshot) == ((NBD,), TemporarySnapshot.NONE)
    assert way.why.startswith("not san: ")
    assert told in way.why


@pytest.mark.parametrize("case", AGAINST_BOTH)
def test_hotadd_needs_every_disk_in_a_snapshot_too(case):
    fields, told = AGAINST_BOTH[case]

    assert told in choose_way(replace(GROUND, **fields), (HOTADD, NBD)).why


def test_what_keeps_hotadd_from_reading_a_disk_keeps_it_from_writing():
    ide = replace(GROUND, written=(disk(thin=False, controller=ControllerKind.IDE),))

    assert "only SCSI disks" in choose_way(ide, (HOTADD, NBD)).why
    with pytest.raises(UnsupportedError, match=r"can write every disk; not hotadd: .*LVM would use it.* allow nbdssl"):
        choose_way(LVM, (HOTADD,))


def test_hotadd_is_passed_over_if_its_snapshot_could_fill_a_datastore_and_san_writes_below_it():
    full = StoreNeed(datastore="datastore-1", name="fast", free=10 << 30, whole=11 << 30)

    by_hotadd, by_san = (choose_way(replace(GROUND, above=(full,)), (mode, NBD)) for mode in (HOTADD, SAN))

    assert by_hotadd.modes == (NBD,)
    assert "datastore fast has 10.0 GiB free, and its temporary snapshot can grow to 11.0 GiB" in by_hotadd.why
    assert by_san.modes == (SAN,)
