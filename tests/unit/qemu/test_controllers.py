"""The place of each disk in QEMU's machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.errors import UnsupportedError, VmKeepError
from vmkeep.model.disk import ControllerKind
from vmkeep.model.portable import PortableDisk
from vmkeep.qemu.controllers import Card, controller_arguments, disk_arguments, place_disks, strangers

TYPES = {
    "ParaVirtualSCSIController": ControllerKind.SCSI,
    "VirtualLsiLogicSASController": ControllerKind.SCSI,
    "VirtualLsiLogicController": ControllerKind.SCSI,
    "VirtualAHCIController": ControllerKind.SATA,
    "VirtualNVMEController": ControllerKind.NVME,
    "VirtualIDEController": ControllerKind.IDE,
}


def a_disk(controller_type="ParaVirtualSCSIController", bus=0, unit=0, key=2000):
    return PortableDisk(
        label=f"Hard disk {key - 1999}", controller=TYPES[controller_type], controller_type=controller_type,
        bus=bus, unit=unit, capacity=1 << 20, key=key,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("controller_type", "device"),
    [
        ("ParaVirtualSCSIController", "scsi-hd,bus=pvscsi0.0,scsi-id=3"),
        ("VirtualLsiLogicSASController", "scsi-hd,bus=lsisas0.0,scsi-id=3"),
        ("VirtualLsiLogicController", "ide-hd,bus=sata0.3"),
        ("VirtualAHCIController", "ide-hd,bus=sata0.3"),
        ("VirtualNVMEController", "nvme-ns,bus=nvme0,nsid=4"),
        ("VirtualIDEController", "ide-hd,bus=ide.1,unit=1"),
    ],
)
def test_a_disk_keeps_its_controller_and_its_place(controller_type, device):
    (placed,) = place_disks([a_disk(controller_type, unit=3)], None)
    assert list(disk_arguments(placed, "disk0", boot_index=1)) == ["-device", f"{device},drive=disk0,bootindex=1"]


def test_a_controller_without_a_likeness_is_told():
    placed = place_disks([a_disk("VirtualLsiLogicController"), a_disk(unit=1, key=2001)], None)
    assert [text.split(":")[0] for text in strangers(placed)] == ["QEMU has no VirtualLsiLogicController"]


def test_a_chosen_controller_takes_the_disks_of_all_buses():
    disks = [a_disk(bus=0), a_disk(bus=1, key=2001), a_disk("VirtualNVMEController", key=2002)]
    placed = place_disks(disks, Card.VIRTIO)
    assert {(p.card, p.number) for p in placed} == {(Card.VIRTIO, 0)}
    assert sorted(p.place for p in placed) == [0, 1, 2]


def test_more_ide_disks_than_a_machine_has_places_for_are_refused():
    with pytest.raises(UnsupportedError, match="4 IDE disks"):
        place_disks([a_disk(unit=unit, key=2000 + unit) for unit in range(5)], Card.IDE)


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(TYPES)), st.integers(0, 3), st.integers(0, 63)),
        min_size=1, max_size=60, unique_by=lambda each: (TYPES[each[0]], each[1:]),
    ),
    st.sampled_from([None, *Card]),
)  # fmt: skip
def test_no_two_disks_share_a_place_and_each_has_its_controller(addresses, card):
    disks = [a_disk(kind, bus, unit, 2000 + n) for n, (kind, bus, unit) in enumerate(addresses)]
    try:
        placed = place_disks(disks, card)
    except VmKeepError:
        return
    assert sorted(p.disk.key for p in placed) == [disk.key for disk in disks]
    assert len({(p.card, p.number, p.place) for p in placed}) == len(disks)
    controllers = " ".join(controller_arguments(placed))
    for each in placed:
        assert each.card is Card.IDE or f"id={each.card.replace('-', '')}{each.number}" in controllers
