"""Partition tables are read as Linux reads them, whatever tool made them and whatever is damaged."""

import json
import os
import struct
import subprocess
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.guest_disks import ImageDisk, MemoryDisk, in_guest
from vmkeep.guest import DiskInGuest
from vmkeep.guest.partitions import TableKind, read_partitions

MIB = 1 << 20
SECTOR = 512
LOGICAL = """\
label: dos
start=2048, size=4096, type=83
start=8192, size=40960, type=5
start=10240, size=2048, type=8e
start=14336, size=4096, type=82
start=20480, size=8192, type=83
start=51200, size=2048, type=7
"""
GPT = """\
label: gpt
start=2048, size=4096, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name="EFI System"
4: start=8192, size=4096, type=E6D6D379-F507-44C2-A23C-238F2A3DF928
start=16384, size=4096, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name="größer"
"""


def made(tmp_path, script, size=32 * MIB):
    """Return a disk on which ``sfdisk`` made a table, and the table as it tells it."""
    image = tmp_path / "disk.raw"
    image.write_bytes(bytes(size))
    subprocess.run(["sfdisk", "-q", image], input=script, text=True, check=True, capture_output=True)
    told = json.loads(subprocess.run(["sfdisk", "--json", image], check=True, capture_output=True).stdout)
    return MemoryDisk(bytearray(image.read_bytes())), told["partitiontable"]["partitions"], image


def read(disk):
    return read_partitions(in_guest(disk)[0])


def spans(table):
    return [(place.number, place.start // SECTOR, place.size // SECTOR) for place in table.partitions]


def by_sfdisk(told, image):
    return [
        (int(each["node"].removeprefix(str(image))), each["start"], each["size"])
        for each in told
        if each["type"] not in {"5", "f"}
    ]


@pytest.mark.parametrize("script", [LOGICAL, GPT])
def test_a_table_is_read_as_sfdisk_tells_it(script, tmp_path):
    disk, told, image = made(tmp_path, script)
    table = read(disk)

    assert spans(table) == by_sfdisk(told, image)
    assert table.warnings == ()
    types = {each["type"].lower().rjust(2, "0") for each in told} - {"05"}
    assert {place.type for place in table.partitions} == types
    assert [place.label for place in table.partitions if place.label] == [
        each["name"] for each in told if "name" in each
    ]


def test_a_type_tells_what_is_for_lvm(tmp_path):
    for script, names in ((LOGICAL, ["disk0p5"]), (GPT, ["disk0p4"])):
        table = read(made(tmp_path, script)[0])
        assert [place.name for place in table.partitions if place.is_for_lvm] == names


def test_a_gpt_of_a_disk_with_large_sectors_is_read(tmp_path):
    image = tmp_path / "disk.raw"
    image.write_bytes(bytes(32 * MIB))
    keys = "g\nn\n1\n512\n1023\nn\n2\n2048\n4095\nw\n"
    subprocess.run(["fdisk", "-b", "4096", image], input=keys, text=True, check=True, capture_output=True)
    table = read(ImageDisk(image))

    assert (table.kind, table.sector) == (TableKind.GPT, 4096)
    assert [(place.start, place.size) for place in table.partitions] == [(2 * MIB, 2 * MIB), (8 * MIB, 8 * MIB)]


@pytest.mark.parametrize("at", [SECTOR + 20, 2 * SECTOR + 30])
def test_a_damaged_gpt_is_read_from_its_backup_and_that_is_said(at, tmp_path):
    disk, told, image = made(tmp_path, GPT)
    disk.content[at] ^= 1
    table = read(disk)

    assert spans(table) == by_sfdisk(told, image)
    assert len(table.warnings) == 1
    assert "its backup at the end of the disk was used" in table.warnings[0]

    disk.content[-SECTOR + 20] ^= 1
    lost = read(disk)
    assert (lost.kind, lost.partitions) == (TableKind.GPT, ())
    assert "both of its headers are damaged" in lost.warnings[0]


def test_a_gpt_without_a_protective_mbr_is_read_and_that_is_said(tmp_path):
    disk, told, image = made(tmp_path, GPT)
    disk.content[:SECTOR] = bytes(SECTOR)
    table = read(disk)

    assert spans(table) == by_sfdisk(told, image)
    assert "Linux would not use it" in table.warnings[0]


def test_an_mbr_over_an_old_gpt_counts_alone(tmp_path):
    disk = made(tmp_path, GPT)[0]
    disk.content[446:510] = entry(0x83, 2048, 2048).ljust(64, b"\0")
    assert (read(disk).kind, spans(read(disk))) == (TableKind.MBR, [(1, 2048, 2048)])


def test_a_disk_without_a_table_is_a_whole_disk():
    table = read(MemoryDisk(bytes(MIB)))
    assert (table.kind, table.partitions, [place.name for place in table.places]) == (TableKind.NONE, (), ["disk0"])


def test_the_boot_sector_of_a_file_system_is_no_table(tmp_path):
    for kind in ("fat", "ntfs-like"):
        image = tmp_path / kind
        image.write_bytes(bytes(4 * MIB))
        if kind == "fat":
            subprocess.run(["mkfs.fat", image], check=True, capture_output=True)
        else:
            image.write_bytes(b"\xeb\x52\x90NTFS    ".ljust(446, b"\x90") + b"\x66\x0f" * 32 + b"\x55\xaa" + bytes(MIB))
        assert read(ImageDisk(image)).partitions == ()


def test_a_whole_disk_that_its_boot_sector_names_as_a_partition_has_no_damaged_table(tmp_path):
    """As mkfs.fat of dosfstools writes it since version 4.2."""
    image = tmp_path / "fat.raw"
    image.touch()
    os.truncate(image, 20 * MIB)
    subprocess.run(["mkfs.vfat", "--mbr=yes", image], check=True, capture_output=True)

    table = read(ImageDisk(image))

    assert (table.partitions, table.warnings) == ((), ())


def entry(kind, first, count):
    return struct.pack("<B3sB3sII", 0, b"", kind, b"", first, count)


def table_of(*entries):
    return b"".join(entries).rjust(446 + 16 * len(entries), b"\0").ljust(510, b"\0") + b"\x55\xaa"


@pytest.mark.parametrize(
    ("chain", "why"),
    [
        (table_of(entry(0x83, 1, 8), entry(5, 0, 100)), "comes again"),
        (table_of(entry(0x83, 1, 8), entry(5, 1 << 31, 100)), "leaves the disk"),
        (table_of(entry(0x83, 1, 8), entry(5, 500, 100)), "breaks at sector 564"),
    ],
)
def test_a_damaged_chain_of_logical_partitions_ends_and_that_is_said(chain, why):
    disk = MemoryDisk(bytearray(MIB))
    disk.content[:SECTOR] = table_of(entry(5, 64, 1900))
    disk.content[64 * SECTOR : 65 * SECTOR] = chain
    table = read(disk)

    assert spans(table) == [(5, 65, 8)]
    assert why in table.warnings[0]


def test_no_more_logical_partitions_are_read_than_linux_numbers():
    disk = MemoryDisk(bytearray(MIB))
    disk.content[:SECTOR] = table_of(entry(5, 1, 2000))
    for at in range(1, 1000):
        disk.content[at * SECTOR : (at + 1) * SECTOR] = table_of(entry(0x83, 1, 1), entry(5, at, 2))
    assert len(read(disk).partitions) == 256


def test_a_partition_is_cut_at_the_end_of_the_disk():
    disk = MemoryDisk(bytearray(MIB))
    disk.content[:SECTOR] = table_of(entry(0x83, 64, 1 << 31), entry(0x83, 1 << 20, 8))
    table = read(disk)

    assert spans(table) == [(1, 64, 2048 - 64)]
    assert len(table.warnings) == 2


def gpt_with(count, length, place=2):
    head = struct.pack(
        "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, 1, 2047, 34, 2000, b"", place, count, length, 0
    )
    return head[:16] + struct.pack("<I", zlib.crc32(head)) + head[20:]


@pytest.mark.parametrize(("count", "length"), [(0xFFFFFFFF, 128), (128, 0xFFFFFFFF), (1024, 4096), (128, 0)])
def test_a_gpt_with_monstrous_entries_is_damaged(count, length):
    disk = MemoryDisk(bytearray(MIB))
    disk.content[:SECTOR] = table_of(entry(0xEE, 1, 2047))
    disk.content[SECTOR : SECTOR + 92] = gpt_with(count, length)
    assert read(disk).partitions == ()


@given(
    st.binary(max_size=1500), st.booleans(), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4000)), max_size=4)
)
def test_whatever_stands_there_all_partitions_lie_within_the_disk(head, is_signed, pointers):
    content = bytearray(head.ljust(8192, b"\0"))
    for slot, first in pointers:
        content[446 + 16 * slot : 462 + 16 * slot] = entry((5, 0xEE, 0x8E, 0)[slot], first, first)
    if is_signed:
        content[510:512] = b"\x55\xaa"
    disk = DiskInGuest(number=0, label="", disk=MemoryDisk(content))

    for place in read_partitions(disk).partitions:
        assert 0 < place.start < place.start + place.size <= len(content)


def test_code_where_entries_would_be_is_no_table_though_it_looks_like_places():
    disk = MemoryDisk(bytearray(MIB))
    disk.content[:SECTOR] = table_of(b"\x66" + entry(0x83, 64, 64)[1:])
    assert (read(disk).kind, read(disk).partitions) == (TableKind.NONE, ())


def test_the_last_entries_of_a_logical_table_count_only_within_the_extended_partition():
    disk = MemoryDisk(bytearray(MIB))
    disk.content[:SECTOR] = table_of(entry(5, 64, 100))
    disk.content[64 * SECTOR : 65 * SECTOR] = table_of(
        entry(0x83, 1, 8), entry(0, 0, 0), entry(0x83, 500, 8), entry(0x83, 20, 8)
    )
    assert spans(read(disk)) == [(5, 65, 8), (6, 84, 8)]


def test_a_gpt_header_that_belongs_to_another_sector_is_damaged(tmp_path):
    disk, told, image = made(tmp_path, GPT)
    head = bytearray(disk.content[SECTOR : SECTOR + 92])
    struct.pack_into("<Q", head, 24, 5)
    struct.pack_into("<I", head, 16, 0)
    struct.pack_into("<I", head, 16, zlib.crc32(head))
    disk.content[SECTOR : SECTOR + 92] = head
    table = read(disk)

    assert spans(table) == by_sfdisk(told, image)
    assert "says that it lies in sector 5" in table.warnings[0]
