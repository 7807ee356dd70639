"""Everything in which a place is not the one that a person was shown is told."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from vmkeep.model.place import SettledPlace

PLANNED = SettledPlace(
    folder="group-v1", folder_path="/Lab/vm", pool="resgroup-1", pool_path="/Lab/host/Cluster1/Resources",
    host="host-1", host_name="esx01", datastore="ds1", disks=(("scsi0:0", "ds1"),),
    networks=(("Network adapter 1", "VM Network"),), unconnected=("Network adapter 1",),
    luns=(("scsi1:0", "naa.1"),), directories=(("log directory", "[ds1] logs"),), policies=(("Hard disk 1", "Gold"),),
    addresses=(("Network adapter 1", "00:50:56:00:00:01"),),
    encrypted=True,
)  # fmt: skip
PARTS = ("disks", "networks", "luns", "directories", "policies")
OTHER = {
    "encrypted": False,
    "unconnected": (),
    "addresses": (("Network adapter 1", ""),),
    **dict.fromkeys(PARTS, (("scsi0:0", "other"),)),
}


def test_a_place_is_not_different_from_itself():
    assert list(PLANNED.differences(PLANNED)) == []


@pytest.mark.parametrize("name", [field.name for field in fields(SettledPlace)])
def test_a_change_of_any_part_is_told(name):
    now = replace(PLANNED, **{name: OTHER.get(name, "other")})
    assert list(PLANNED.differences(now))


def test_a_card_that_would_be_connected_though_it_was_shown_disconnected_is_named():
    (told,) = PLANNED.differences(replace(PLANNED, unconnected=()))
    assert told == "network card Network adapter 1 would start connected"
