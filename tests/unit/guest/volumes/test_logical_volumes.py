"""Logical volumes over physical ones, against a simple model of extents."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.nbd_parts import MemoryDisk
from tests.unit.guest.volumes.disks import assert_reads_as, content_of, disks, ranges_of
from tests.unit.guest.volumes.thinpools import CHUNK, make_pool
from vmkeep.errors import CorruptError, UnsupportedError
from vmkeep.guest.lvm import Area, LogicalVolume, PhysicalVolume, Segment, VolumeGroup
from vmkeep.guest.volumes.logical import GroupDisks, shown

EXTENT = 4096
_PVS = 3
_EXTENTS = 8
_START = 1024
_ALL = (1 << 64) - 1


def segment(kind, count, areas, start=0, **more):
    return Segment(start_extent=start, extent_count=count, kind=kind, areas=tuple(areas), **more)


def volume(name, *segments, visible=True):
    return LogicalVolume(uuid=name, name=name, is_visible=visible, status=(), segments=segments)


def group_of(*volumes, extent=EXTENT, extents=_EXTENTS):
    physical = tuple(
        PhysicalVolume(
            uuid=f"uuid{number}", name=f"pv{number}", device="", dev_size=0, pe_start=_START, pe_count=extents
        )
        for number in range(_PVS)
    )
    return VolumeGroup(
        uuid="u", name="vg", seqno=1, extent_size=extent, physical_volumes=physical, logical_volumes=volumes
    )


def opened(group, below, name):
    chosen = next(volume for volume in group.logical_volumes if volume.name == name)
    return GroupDisks(group, {f"uuid{number}": disk for number, disk in below.items()}, name="vg", absent={}).open(
        chosen
    )


def filled(extents=_EXTENTS, extent=EXTENT):
    """Physical volumes, each extent of which holds bytes of its own."""
    return {
        number: MemoryDisk(
            bytes(_START) + b"".join(bytes([1 + number * extents + at]) * extent for at in range(extents))
        )
        for number in range(_PVS)
    }


def bytes_at(below, pv, start, count, extent=EXTENT):
    return bytes(below[pv].content[_START + start * extent : _START + (start + count) * extent])


@st.composite
def layouts(draw):
    """A volume of linear and striped segments anywhere, and for each of its stripes the place of its bytes."""
    stripe = draw(st.sampled_from([512, 1024, EXTENT]))
    segments, places, at = [], [], 0
    for _ in range(draw(st.integers(1, 4))):
        width, each = draw(st.integers(1, _PVS)), draw(st.integers(1, 3))
        areas = [(draw(st.integers(0, _PVS - 1)), draw(st.integers(0, _EXTENTS - each))) for _ in range(width)]
        segments.append(
            segment(
                "striped",
                each * width,
                (Area(pv=f"pv{pv}", start=start) for pv, start in areas),
                at,
                stripe_size=stripe if width > 1 else 0,
            )
        )
        places += [
            (pv, _START + start * EXTENT + row * stripe)
            for row in range(each * EXTENT // stripe)
            for pv, start in areas
        ]
        at += each * width
    return segments, places, stripe


@given(st.data())
def test_any_layout_reads_as_its_extents_and_stripes(data):
    segments, places, stripe = data.draw(layouts())
    below = {number: data.draw(disks(2 + 8 * _EXTENTS)) for number in range(_PVS)}
    model = b"".join(bytes(below[pv].content[at : at + stripe]) for pv, at in places)

    mapped = opened(group_of(volume("lv", *segments)), below, "lv")

    assert_reads_as(mapped.disk, model, data.draw(ranges_of(len(model))))
    assert mapped.notes == ()


def test_a_segment_of_zeros_is_a_hole():
    lv = volume("lv", segment("zero", 2, ()), segment("striped", 1, [Area(pv="pv0", start=3)], 2))
    below = filled()

    mapped = opened(group_of(lv), below, "lv")

    assert_reads_as(mapped.disk, bytes(2 * EXTENT) + bytes_at(below, 0, 3, 1), [])


def _superblock(position, *, events=7, failed=0, recovered=_ALL):
    return struct.pack("<4sIIIQQQQ", b"DmRd", 0, 2, position, events, failed, recovered, _ALL)


def _raid1(*superblocks):
    """A raid1 of as many legs as superblocks: each leg on a physical volume of its own, metadata in extent 0."""
    below = filled()
    parts, areas, metas = [], [], []
    for number, block in enumerate(superblocks):
        parts.append(volume(f"meta{number}", segment("striped", 1, [Area(pv=f"pv{number}")]), visible=False))
        parts.append(volume(f"leg{number}", segment("striped", 2, [Area(pv=f"pv{number}", start=1)]), visible=False))
        metas.append(Area(lv=f"meta{number}"))
        areas.append(Area(lv=f"leg{number}"))
        below[number].content[_START : _START + len(block)] = block
    top = volume("lv", segment("raid1", 2, areas, metadata_areas=tuple(metas)))
    return group_of(*parts, top), below


@pytest.mark.parametrize(
    ("superblocks", "leg"),
    [
        ([_superblock(0), _superblock(1)], 0),
        ([_superblock(0, events=6), _superblock(1)], 1),
        ([_superblock(0), _superblock(1, events=8, failed=1)], 1),
        ([_superblock(0, recovered=64), _superblock(1)], 1),
        ([bytes(64), _superblock(1)], 1),
        ([bytes(64), bytes(64)], 0),
    ],
    ids=["healthy", "lags", "fell out", "is rebuilt", "was replaced", "never in use"],
)
def test_a_mirror_is_read_from_a_leg_that_is_up_to_date(superblocks, leg):
    group, below = _raid1(*superblocks)

    mapped = opened(group, below, "lv")

    assert content_of(mapped.disk) == bytes_at(below, leg, 1, 2)
    assert mapped.notes == (f"read from leg {leg + 1} of 2 of its mirror",)


def test_a_mirror_of_which_a_leg_is_missing_is_read_from_the_other():
    group, below = _raid1(_superblock(0), _superblock(1))
    del below[0]

    mapped = opened(group, below, "lv")

    assert content_of(mapped.disk) == bytes_at(below, 1, 1, 2)
    assert mapped.notes == ("read from leg 2 of 2 of its mirror; not all legs are there",)


def test_a_mirror_without_a_leg_that_is_up_to_date_is_refused():
    group, below = _raid1(_superblock(0, recovered=5), _superblock(1, recovered=9))

    with pytest.raises(UnsupportedError, match="no leg on these disks is up to date"):
        opened(group, below, "lv")


def test_an_old_mirror_is_read_from_its_first_leg():
    legs = [volume(f"leg{at}", segment("striped", 1, [Area(pv=f"pv{at}", start=5)])) for at in range(2)]
    top = volume("lv", segment("mirror", 1, [Area(lv="leg0"), Area(lv="leg1")]))
    below = filled()

    assert content_of(opened(group_of(*legs, top), below, "lv").disk) == bytes_at(below, 0, 5, 1)


def test_a_volume_that_lacks_a_disk_is_refused_and_the_others_are_read():
    group = group_of(
        volume("whole", segment("striped", 1, [Area(pv="pv1")])),
        volume("torn", segment("striped", 1, [Area(pv="pv1")]), segment("striped", 1, [Area(pv="pv2")], 1)),
    )
    below = filled()
    del below[2]

    assert content_of(opened(group, below, "whole").disk) == bytes_at(below, 1, 0, 1)
    with pytest.raises(UnsupportedError, match="vg/torn: it lies on the physical volume uuid2"):
        opened(group, below, "torn")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("cache", "a cached volume"),
        ("raid5_ls", "raid5_ls"),
        ("raid6_zr", "raid6_zr"),
        ("vdo", "VDO"),
        ("writecache", "write cache"),
        ("error", "fails by intent"),
        ("thin-pool", "pool of thin volumes"),
        ("of-tomorrow", "of-tomorrow"),
    ],
)
def test_other_kinds_are_refused_by_name_with_the_way_out(kind, said):
    group = group_of(volume("lv", segment(kind, 1, [Area(pv="pv0")])))

    with pytest.raises(UnsupportedError, match=rf"vg/lv: .*{said}.*restore the VM and read it there"):
        opened(group, filled(), "lv")


def test_a_snapshot_of_the_old_kind_is_refused_and_its_origin_is_read():
    group = group_of(
        volume("origin", segment("striped", 1, [Area(pv="pv0")])),
        volume("snap", segment("striped", 1, [Area(pv="pv1")])),
        volume("snapshot0", segment("snapshot", 1, (), origin="origin", cow_store="snap")),
    )
    below = filled()

    assert [each.name for each in shown(group)] == ["origin", "snap"]

    assert content_of(opened(group, below, "origin").disk) == bytes_at(below, 0, 0, 1)
    with pytest.raises(UnsupportedError, match="vg/snap: it is a snapshot of origin"):
        opened(group, below, "snap")


def test_a_volume_that_a_snapshot_is_merged_into_is_refused():
    group = group_of(
        volume("origin", segment("striped", 1, [Area(pv="pv0")])),
        volume("snapshot0", segment("snapshot", 1, (), origin="origin", merging_store="snap"), visible=False),
    )

    with pytest.raises(UnsupportedError, match="is being taken back to a snapshot"):
        opened(group, filled(), "origin")


def test_volumes_that_name_one_another_again_and_again_are_opened_once():
    """Without that, the time would double with each of the fifteen floors, some two hundred times over."""
    floors = [volume("lv0", *(segment("striped", 1, [Area(pv="pv0")], at) for at in range(200)))]
    for floor in range(1, 15):
        below = f"lv{floor - 1}"
        floors.append(volume(f"lv{floor}", *(segment("striped", 1, [Area(lv=below)], at) for at in range(200))))
    below = filled()

    mapped = opened(group_of(*floors), below, "lv14")

    assert content_of(mapped.disk, 0, EXTENT) == bytes_at(below, 0, 0, 1)


@pytest.mark.parametrize(
    "segments",
    [
        [segment("striped", 1, [Area(lv="lv")])],
        [segment("striped", 1, [Area(lv="nobody")])],
        [segment("striped", 1, [Area(pv="pv0", start=_EXTENTS)])],
        [segment("striped", 1, [Area(pv="pv0", start=1 << 62)])],
        [segment("striped", 1, [Area(pv="pv0")], 1)],
        [segment("striped", 3, [Area(pv="pv0"), Area(pv="pv1")], stripe_size=512)],
        [segment("striped", 2, [Area(pv="pv0"), Area(pv="pv1")], stripe_size=0)],
        [segment("striped", 2, [Area(pv="pv0"), Area(pv="pv1")], stripe_size=1000)],
        [segment("thin", 1, (), pool="nobody", device_id=1)],
    ],
)
def test_metadata_that_contradict_themselves_are_damage(segments):
    with pytest.raises(CorruptError):
        opened(group_of(volume("lv", *segments)), filled(), "lv")


def test_thin_volumes_are_read_out_of_their_pool(tmp_path):
    made = make_pool(tmp_path)
    pool = segment("thin-pool", 1, (), pool="tdata", metadata="tmeta", chunk_size=CHUNK, transaction_id=3)
    group = group_of(
        volume("tdata", segment("striped", 96, [Area(pv="pv0")]), visible=False),
        volume("tmeta", segment("striped", 4, [Area(pv="pv1")]), visible=False),
        volume("pool", pool),
        volume("lv", segment("thin", 40, (), pool="pool", device_id=2)),
        extent=CHUNK,
        extents=96,
    )
    below = {
        0: MemoryDisk(bytes(_START) + bytes(made.data.content)),
        1: MemoryDisk(bytes(_START) + bytes(made.metadata.content)),
    }

    mapped = opened(group, below, "lv")

    assert_reads_as(mapped.disk, made.model(2, 40), [])
    assert mapped.notes == ()
