"""Free LUNs: nobody's LUN is taken, and a disk goes without one only if there are too few."""

from __future__ import annotations

from itertools import permutations
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.vsphere.api import vim
from vmkeep.vsphere.freeluns import LunUses, LunWish, choose_luns, mapped_by
from vmkeep.vsphere.luns import Lun, lun_of

SIZES = st.lists(st.integers(1, 6), max_size=4)


def lun(number: int, capacity: int, **about) -> Lun:
    return Lun(device_name=f"naa.{number}", uuid=f"uuid-{number}", capacity=capacity, **about)


def wish(key: int, capacity: int) -> LunWish:
    return LunWish(key=key, label=f"disk {key}", capacity=capacity)


def test_a_lun_of_the_disk_s_own_size_is_taken_before_a_larger_one():
    free = [lun(0, 9), lun(1, 5), lun(2, 6), lun(3, 5)]

    chosen, without = choose_luns(free, [wish(1, 5), wish(2, 6), wish(3, 7)])

    assert {key: found.device_name for key, found in chosen.items()} == {1: "naa.1", 2: "naa.2", 3: "naa.0"}
    assert without == []


@given(SIZES, SIZES)
def test_a_disk_goes_without_a_lun_only_if_no_choice_would_serve_more_disks(luns, disks):
    chosen, without = choose_luns(
        [lun(number, capacity) for number, capacity in enumerate(luns)],
        [wish(key, capacity) for key, capacity in enumerate(disks)],
    )

    padded = [*luns, *[0] * (len(disks) - len(luns))]
    served = [sum(has >= needs for has, needs in zip(order, disks, strict=False)) for order in permutations(padded)]
    assert len(chosen) == max(served) == len(disks) - len(without)
    assert all(found.capacity >= disks[key] for key, found in chosen.items())
    assert len({found.uuid for found in chosen.values()}) == len(chosen)


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({}, ""),
        ({"used_by": ("vm-7",)}, "mapped by vm-7"),
        ({"own_use": "vSAN"}, "used by the host for vSAN"),
    ],
)
def test_a_lun_is_in_use_if_its_host_says_so(about, told):
    assert LunUses().of(lun(1, 5, **about)) == told


def test_a_lun_is_in_use_if_another_vm_maps_it_or_a_volume_lies_on_it():
    uses = LunUses(mapped={"uuid-1": "VM db01 (vm-9)"}, extents={"naa.2": "datastore gold"})

    assert [uses.of(lun(number, 5)) for number in (1, 2, 3)] == [
        "mapped by VM db01 (vm-9)",
        "part of datastore gold",
        "",
    ]


def test_a_mapping_names_its_lun_by_uuid_or_device_also_beneath_a_snapshot():
    kinds = vim.vm.device.VirtualDisk
    base = kinds.RawDiskMappingVer1BackingInfo(lunUuid="uuid-1", deviceName="/vmfs/devices/disks/naa.1")
    nameless = kinds.RawDiskMappingVer1BackingInfo(deviceName="naa.2")
    delta = kinds.RawDiskMappingVer1BackingInfo(parent=base)
    plain = kinds.FlatVer2BackingInfo(fileName="[a] b")

    found = [[*mapped_by(kinds(backing=backing))] for backing in (base, nameless, delta, plain, None)]

    assert found == [["uuid-1", "naa.1"], ["naa.2"], ["uuid-1", "naa.1"], [], []]
    uses = LunUses(mapped=dict.fromkeys(found[1], "VM db01 (vm-9)"))
    assert uses.of(lun(2, 5)) == "mapped by VM db01 (vm-9)"


def described(**disk) -> Lun:
    about = {
        "canonicalName": "naa.1", "uuid": "u", "devicePath": "/vmfs/devices/disks/naa.1", "operationalState": ["ok"],
        "capacity": vim.host.DiskDimensions.Lba(block=8, blockSize=512), "vsanDiskInfo": None, "localDisk": None,
        "usedByMemoryTiering": None, "protocolEndpoint": None, "perenniallyReserved": None,
    }  # fmt: skip
    return lun_of(SimpleNamespace(name="naa.1", vm=None, disk=SimpleNamespace(**{**about, **disk})))


@pytest.mark.parametrize(
    ("disk", "own_use", "aside"),
    [
        ({}, "", ""),
        ({"vsanDiskInfo": object()}, "vSAN", ""),
        ({"usedByMemoryTiering": True}, "memory tiering", ""),
        ({"protocolEndpoint": True}, "virtual volumes", ""),
        ({"localDisk": True}, "", "it is a disk of the host itself"),
        ({"perenniallyReserved": True}, "", "it is marked as reserved by a cluster of guests"),
        ({"operationalState": ["lostCommunication"]}, "", "its state is lostCommunication"),
    ],
)
def test_a_lun_that_the_host_has_a_use_for_or_that_is_no_plain_lun_is_told_apart(disk, own_use, aside):
    found = described(**disk)

    assert (found.own_use, found.aside, found.capacity) == (own_use, aside, 4096)
