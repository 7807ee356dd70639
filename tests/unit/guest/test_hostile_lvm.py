"""No disk, cut or mangled anywhere, makes the check of LVM crash, hang, or use much memory."""

import resource
import struct
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.guest_disks import MemoryDisk, in_guest
from tests.unit.guest.lvmdisks import AREA_AT, MIB, SECTOR, Area, Group, Label, Pv, crc, disk_of, uuid_of
from vmkeep.guest.lvm import check, read_lvm, record_groups
from vmkeep.guest.lvm.areas import LARGEST_TEXT

PV = Pv(size=2 * MIB)
GROUP = Group(pvs=(PV, Pv(name="pv1", uuid=uuid_of(1))), lvs=((uuid_of(71), "root"),))
GOOD = bytes(disk_of(Label(pv=PV, areas=(Area(text=GROUP.text()),)), size=2 * MIB).content)
HOT = (0, 446, 510, SECTOR, SECTOR + 20, SECTOR + 72, AREA_AT, AREA_AT + 20, AREA_AT + 40, AREA_AT + SECTOR)
VALUES = st.one_of(
    st.binary(min_size=1, max_size=9),
    st.sampled_from([b"\xff" * 4, b"\xff" * 8, b"\0" * 8, struct.pack("<Q", 1 << 32), b'"', b"{", b"}", b"[", b"#"]),
)
CHANGES = st.lists(st.tuples(st.sampled_from(HOT), st.integers(0, 900), VALUES), min_size=1, max_size=5)


def summed(content):
    """Give label, header and text the checksums that fit, so that wrong values get as far as they can."""
    content[SECTOR + 16 : SECTOR + 20] = struct.pack("<I", crc(content[SECTOR + 20 : 2 * SECTOR]))
    at, size = struct.unpack_from("<QQ", content, AREA_AT + 40)
    if SECTOR <= at <= at + size <= 1 << 20:
        struct.pack_into("<I", content, AREA_AT + 56, crc(content[AREA_AT + at : AREA_AT + at + size]))
    content[AREA_AT : AREA_AT + 4] = struct.pack("<I", crc(content[AREA_AT + 4 : AREA_AT + SECTOR]))


@given(changes=CHANGES, is_summed=st.booleans(), cut=st.sampled_from([2 * MIB] * 6 + [MIB, 6000, 4097, 1024, 700, 0]))
def test_a_mangled_disk_gives_findings_and_nothing_else(changes, is_summed, cut):
    content = bytearray(GOOD)
    for place, more, value in changes:
        content[place + more : place + more + len(value)] = value
    if is_summed:
        summed(content)
    state = read_lvm(in_guest(MemoryDisk(content[:cut])))

    assert all(finding.text for finding in check(state, previous=record_groups(state)))
    assert state.bytes_read < 4 * MIB
    for place in (label.place for label in state.labels):
        assert 0 <= place.start < place.start + place.size <= cut


def looked_at(*disks):
    """Check disks in bounded time and memory, and return the findings."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    findings = check(read_lvm(in_guest(*disks)))
    assert time.process_time() - began < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 << 10  # KiB
    return [str(finding.code) for finding in findings]


@pytest.mark.parametrize(
    "area",
    [
        Area(text=b"x", size=1 << 62),
        Area(text=b"x", size=1 << 40, text_at=1 << 39),
        Area(text=b"x", size=(1 << 64) - 1),
        Area(text=b"x", size=SECTOR),
        Area(text=b"x", text_at=100),
    ],
)
def test_lengths_beyond_the_disk_are_torn(area):
    assert looked_at(disk_of(Label(pv=PV, areas=(area,)), size=2 * MIB)) == ["metadata-torn"]


def test_a_text_of_gigabytes_is_not_read():
    disk = disk_of(Label(pv=PV, areas=(Area(text=b"x", size=12 * MIB),)))
    struct.pack_into("<Q", disk.content, AREA_AT + 48, 12 * MIB - SECTOR)
    disk.content[AREA_AT : AREA_AT + 4] = struct.pack("<I", crc(disk.content[AREA_AT + 4 : AREA_AT + SECTOR]))

    assert looked_at(disk) == ["unreadable"]
    assert sum(length for _, length in disk.reads) < MIB


def test_a_list_of_areas_without_an_end_is_torn():
    disk = disk_of(Label(pv=PV, areas=tuple(Area(at=AREA_AT) for _ in range(20))))
    disk.content[SECTOR + 72 : 2 * SECTOR] = b"\1" * (SECTOR - 72)
    disk.content[SECTOR + 16 : SECTOR + 20] = struct.pack("<I", crc(disk.content[SECTOR + 20 : 2 * SECTOR]))
    assert looked_at(disk) == ["metadata-torn"]


def test_large_texts_that_differ_end_soon_on_one_disk_or_on_several():
    """The bytes that are read from a disk, and those that are parsed for a guest, have limits."""
    step = 3 * MIB
    areas = tuple(
        Area(text=Group(pvs=(PV,), seqno=at, pad=2 * MIB).text(), at=AREA_AT + at * step, size=step - MIB + AREA_AT)
        for at in range(20)
    )
    one = disk_of(Label(pv=PV, areas=areas), size=64 * MIB)
    several = [disk_of(Label(pv=PV, areas=some), size=64 * MIB) for some in (areas[:10], areas[10:])]

    assert "unreadable" in looked_at(one)
    assert sum(length for _, length in one.reads) <= 32 * MIB
    assert "unreadable" in looked_at(*several)


def test_a_disk_full_of_copies_of_one_volume_ends_soon():
    """A table may name the same place a thousand times."""
    text = GROUP.text()
    disk = disk_of(Label(pv=PV, areas=(Area(text=text),)), size=4 * MIB, start=2 * MIB)
    count = 1024
    entries = b"".join(struct.pack("<16s16sQQQ72s", b"\1" * 16, bytes(16), 4096, 8000, 0, b"") for _ in range(count))
    head = struct.pack(
        "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, 1, 8191, 34, 8000, b"", 2, count, 128, zlib.crc32(entries)
    )
    disk.content[SECTOR : SECTOR + 92] = head[:16] + struct.pack("<I", zlib.crc32(head)) + head[20:]
    disk.content[2 * SECTOR : 2 * SECTOR + len(entries)] = entries
    disk.content[446:462] = struct.pack("<B3sB3sII", 0, b"", 0xEE, b"", 1, 8191)
    disk.content[510:512] = b"\x55\xaa"

    assert looked_at(disk).count("duplicate-pv") == count - 1


def test_tens_of_thousands_of_missing_volumes_end_soon():
    pvs = tuple(Pv(name=f"pv{at}", uuid=uuid_of(at), device="") for at in range(20_000))
    text = Group(pvs=pvs).text()
    assert len(text) < LARGEST_TEXT
    disk = disk_of(Label(pv=pvs[0], areas=(Area(text=text, size=6 * MIB),)))
    assert looked_at(disk).count("missing-pv") == len(pvs) - 1
