"""Every kind of VMDK is read as the disk that QEMU sees in it."""

import os
import random
import re
import zlib
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import pytest

from tests.unit.formats.foreignvmdks import SE_GRAIN, SECTOR, describe, write_cowd, write_sesparse
from tests.unit.formats.qemu import qemu_img, qemu_io
from tests.unit.formats.written import write_layout, write_raw
from vmkeep.errors import NotFoundError, UnsupportedError, UsageError
from vmkeep.formats import StreamVmdk, VmdkFacts, VmdkKind, open_vmdk, plan_vmdk
from vmkeep.formats.imagefile import ImageFile
from vmkeep.model.extents import Extent, total

MIB = 1 << 20
CAPACITY = 2048 * MIB + 7 * SECTOR
SUBFORMATS = ("monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized")
PARTS = {
    0: random.Random(1).randbytes(3 * MIB + SECTOR),
    40 * MIB: b"text " * 60_000,
    2047 * MIB - 4096: random.Random(2).randbytes(8192),
    CAPACITY - 3 * SECTOR: b"end" * SECTOR,
}


def part_of(start, length):
    """Return bytes of the sample disk."""
    found = bytearray(length)
    for at, data in PARTS.items():
        left, right = max(start, at), min(start + length, at + len(data))
        if left < right:
            found[left - start : right - start] = data[left - at : right - at]
    return bytes(found)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return write_raw(tmp_path_factory.mktemp("raw") / "disk.raw", CAPACITY, PARTS)


def read_all(source, extents, piece=MIB):
    """Read extents by two threads, as a backup does. Return the bytes by their place."""
    found = {}
    with source.open_reader(extents, piece_size=piece, depth=2) as reader:

        def work():
            while (taken := reader.next_piece()) is not None:
                found[taken.start] = bytes(taken.data)
                taken.release()

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(work) for _ in range(2)]:
                done.result()
    return found


def check_sample(source):
    assert source.capacity == CAPACITY
    stored = source.allocated()
    assert total(stored) <= sum(map(len, PARTS.values())) + 10 * 65536
    for start, data in read_all(source, stored).items():
        assert data == part_of(start, len(data))
    for start, data in PARTS.items():
        assert any(extent.start <= start and start + len(data) <= extent.stop for extent in stored)
    holes = memoryview(bytearray(b"x" * 4096))
    source.read_into(1000 * MIB, holes)
    assert bytes(holes) == bytes(4096)


def write_short_cid(content, cid):
    """Put a CID into a descriptor as QEMU does: without zeros at its front, and over the text that was there before."""
    start = content.index(b"# Disk DescriptorFile")
    stop = content.index(b"\0", start)
    text = re.sub(rb"(?<=\nCID=)\w+", cid, content[start:stop]) + b"\0"
    return content[:start] + text + content[start + len(text) :]


@pytest.mark.parametrize("subformat", SUBFORMATS)
@pytest.mark.parametrize("cids", [(b"1234567",), (b"123456",), (b"1",), (b"12345", b"1234567", b"1"), (b"1", b"12")])
def test_an_image_is_read_whose_content_id_qemu_has_written_shorter_than_before(cids, subformat, tmp_path):
    """QEMU does so with one image of 256, and leaves the end of the old text behind the zero byte of the new one."""
    whole = write_raw(tmp_path / "disk.raw", MIB, {0: b"data" * SECTOR})
    path = tmp_path / "disk.vmdk"
    qemu_img("convert", "-O", "vmdk", "-o", f"subformat={subformat}", whole, path)
    content = path.read_bytes()
    for cid in (b"12345678", *cids):  # because QEMU has written its own with a digit less in one image of sixteen
        content = write_short_cid(content, cid)
    path.write_bytes(content)

    qemu_img("compare", "-f", "raw", "-F", "vmdk", whole, path)
    with open_vmdk(path) as source:
        assert source.capacity == MIB
        assert read_all(source, source.allocated())[0][: 4 * SECTOR] == b"data" * SECTOR


def test_a_descriptor_that_lost_a_part_in_its_middle_is_refused(tmp_path):
    """The text behind the zero bytes may name extents, without which the disk would be shorter."""
    path = describe(tmp_path / "disk.vmdk", "monolithicFlat", [f'RW {SECTOR} FLAT "flat.vmdk" 0'])
    text = path.read_bytes()
    (tmp_path / "flat.vmdk").write_bytes(bytes(SECTOR * SECTOR))
    middle = text.index(b"ddb.adapterType")
    path.write_bytes(text[:middle] + bytes(16) + text[middle:])

    with pytest.raises(UsageError, match="holds a zero byte"):
        open_vmdk(path)


@pytest.mark.parametrize("subformat", SUBFORMATS)
def test_an_image_of_qemu_is_read_as_the_disk_that_it_was_made_from(subformat, raw, tmp_path):
    path = tmp_path / "disk.vmdk"
    qemu_img("convert", "-O", "vmdk", "-o", f"subformat={subformat}", raw, path)

    with open_vmdk(path) as source:
        check_sample(source)


@pytest.mark.parametrize("kind", [*VmdkKind, "stream"])
def test_an_image_that_we_wrote_is_read_as_the_disk_that_it_was_made_from(kind, raw, tmp_path):
    facts = VmdkFacts(name="disk")
    if kind == "stream":
        path = tmp_path / "disk.vmdk"
        pieces = ((start, memoryview(data)) for start, data in PARTS.items())
        path.write_bytes(b"".join(StreamVmdk(facts, capacity=CAPACITY).parts(pieces)))
    else:
        stored = [Extent(start, start + len(data)) for start, data in PARTS.items()]
        path = write_layout(plan_vmdk(kind, facts, capacity=CAPACITY, stored=stored), tmp_path, raw)

    with open_vmdk(path) as source:
        check_sample(source)


def test_a_stream_is_read_where_it_lies_in_an_archive(tmp_path):
    pieces = [(MIB, memoryview(b"abc." * 1024))]
    stream = b"".join(StreamVmdk(VmdkFacts(name="disk"), capacity=2 * MIB).parts(pieces))
    archive = tmp_path / "vm.ova"
    archive.write_bytes(bytes(1536) + stream + bytes(1024))

    with open_vmdk(archive, file=ImageFile(archive, start=1536, size=len(stream), name="vm.ova, disk.vmdk")) as source:
        assert read_all(source, source.allocated())[MIB][:4096] == b"abc." * 1024


def whole(path, capacity):
    with open_vmdk(path) as source:
        assert source.capacity == capacity
        disk = bytearray(capacity)
        for start, data in read_all(source, source.allocated(), piece=60 * 1024).items():
            disk[start : start + len(data)] = data
        everything = memoryview(bytearray(capacity))
        source.read_into(0, everything)
        assert everything == disk
        return bytes(disk)


def as_qemu_reads(path, tmp_path):
    qemu_img("convert", "-f", "vmdk", "-O", "raw", path, tmp_path / "by-qemu.raw")
    return (tmp_path / "by-qemu.raw").read_bytes()


def base_image(tmp_path, capacity, cid=1):
    """Write what ESXi calls a thin disk: a descriptor of the kind ``vmfs``, and a flat file."""
    content = random.Random(3).randbytes(MIB) + bytes(capacity - 2 * MIB) + random.Random(4).randbytes(MIB)
    (tmp_path / "vm-flat.vmdk").write_bytes(content)
    describe(tmp_path / "vm.vmdk", "vmfs", [f'RW {capacity // SECTOR} VMFS "vm-flat.vmdk"'], cid=cid)
    return content


def test_a_snapshot_of_esx_is_read_over_its_parent(tmp_path):
    capacity = 5 * MIB + SECTOR
    base_image(tmp_path, capacity)
    grains = {0: b"A" * SECTOR, 1: b"B" * SECTOR, 9: b"C" * SECTOR, capacity // SECTOR - 1: b"D" * SECTOR}
    write_cowd(tmp_path / "vm-000001-delta.vmdk", capacity // SECTOR, grains)
    lines = [f'RW {capacity // SECTOR} VMFSSPARSE "vm-000001-delta.vmdk"']
    path = describe(tmp_path / "vm-000001.vmdk", "vmfsSparse", lines, cid=2, parent=(1, "vm.vmdk"))

    assert whole(path, capacity) == as_qemu_reads(path, tmp_path)


def test_a_snapshot_of_esxi_is_read_over_its_parent_and_hides_what_was_unmapped(tmp_path):
    capacity = 20 * MIB
    content = base_image(tmp_path, capacity)
    grains = {0: 1, 3: b"A" * SE_GRAIN, 4: b"B" * SE_GRAIN, 5: 2, 4100: b"C" * SE_GRAIN, 5119: b"D" * SE_GRAIN}
    write_sesparse(tmp_path / "vm-000001-sesparse.vmdk", capacity // SECTOR, grains)
    lines = [f'RW {capacity // SECTOR} SESPARSE "vm-000001-sesparse.vmdk"']
    path = describe(tmp_path / "vm-000001.vmdk", "seSparse", lines, cid=2, parent=(1, "vm.vmdk"))

    disk = whole(path, capacity)

    assert disk == as_qemu_reads(path, tmp_path)
    assert disk[:SE_GRAIN] == bytes(SE_GRAIN) != content[:SE_GRAIN]


def test_a_chain_of_workstation_is_read_from_its_top_to_its_base(tmp_path):
    capacity = 3 * MIB + SECTOR
    write_raw(tmp_path / "raw", capacity, {0: b"base" * 50_000})
    qemu_img("convert", "-O", "vmdk", tmp_path / "raw", tmp_path / "vm.vmdk")
    for name, parent, command in (("vm-1", "vm", "write -P 1 0 64k"), ("vm-2", "vm-1", "write -P 2 1M 130k")):
        qemu_img("create", "-f", "vmdk", "-F", "vmdk", "-b", f"{parent}.vmdk", tmp_path / f"{name}.vmdk")
        qemu_io(tmp_path / f"{name}.vmdk", command, form="vmdk")

    assert whole(tmp_path / "vm-2.vmdk", capacity) == as_qemu_reads(tmp_path / "vm-2.vmdk", tmp_path)


def test_a_zeroed_grain_hides_the_parents_data(tmp_path):
    write_raw(tmp_path / "raw", MIB, {0: b"base" * 50_000})
    qemu_img("convert", "-O", "vmdk", tmp_path / "raw", tmp_path / "vm.vmdk")
    path = tmp_path / "vm-1.vmdk"
    qemu_img("create", "-f", "vmdk", "-o", "zeroed_grain=on", "-F", "vmdk", "-b", "vm.vmdk", path)
    qemu_io(path, "write -z 64k 64k", form="vmdk")

    disk = whole(path, MIB)

    assert disk == as_qemu_reads(path, tmp_path)
    assert disk[65536:131072] == bytes(65536)


def test_a_parent_that_has_changed_since_is_refused(tmp_path):
    base_image(tmp_path, 4 * MIB, cid=7)
    path = describe(tmp_path / "c.vmdk", "monolithicFlat", ['RW 8192 FLAT "vm-flat.vmdk" 0'], parent=(8, "vm.vmdk"))

    with pytest.raises(UsageError, match=r"00000008, and has 00000007"):
        open_vmdk(path)


def test_a_chain_that_leads_back_to_itself_is_refused(tmp_path):
    (tmp_path / "f.vmdk").write_bytes(bytes(SECTOR))
    for name, parent in (("a", "b"), ("b", "a")):
        describe(tmp_path / f"{name}.vmdk", "monolithicFlat", ['RW 1 FLAT "f.vmdk" 0'], parent=(1, f"{parent}.vmdk"))

    with pytest.raises(UsageError, match="lead back to itself"):
        open_vmdk(tmp_path / "a.vmdk")


def test_line_ends_case_and_encoding_of_a_descriptor_may_differ(tmp_path):
    (tmp_path / "dïsk-flat.vmdk").write_bytes(b"x" * SECTOR)
    lines = [
        "# disk DESCRIPTORFILE",
        "VERSION = 1",
        'Encoding="windows-1252"',
        'CREATETYPE = "monolithicFlat"',
        "cid=1",
    ]
    text = "\r\n".join([*lines, "", 'rw  1  flat  "dïsk-flat.vmdk"  0', ""])
    (tmp_path / "d.vmdk").write_bytes(text.encode("windows-1252"))

    assert whole(tmp_path / "d.vmdk", SECTOR) == b"x" * SECTOR


@pytest.mark.parametrize(
    ("kind", "line", "error", "why"),
    [
        ("monolithicFlat", 'RW 1 FLAT "../secret" 0', UsageError, "another folder"),
        ("monolithicFlat", 'RW 1 FLAT "/etc/passwd" 0', UsageError, "another folder"),
        ("monolithicFlat", 'RW 1 FLAT "link" 0', UsageError, "another folder"),
        ("monolithicFlat", 'RW 1 FLAT "." 0', UsageError, "another folder"),
        ("monolithicFlat", 'RW 1 FLAT "pipe" 0', UsageError, "is no file"),
        ("monolithicFlat", 'RW 1 FLAT "d.vmdk" 0', UsageError, "for two things"),
        ("twoGbMaxExtentFlat", 'RW 1 FLAT "f" 0\nRW 2 FLAT "f" 0', UsageError, "for two things"),
        ("monolithicFlat", 'RW 1 FLAT "missing" 0', NotFoundError, "cannot be found"),
        ("monolithicFlat", 'RW 3 FLAT "f" 0', UsageError, "cut off"),
        ("monolithicFlat", 'RW 1 FLAT "f" 2', UsageError, "cut off"),
        ("monolithicFlat", 'RW 0 FLAT "f" 0', UsageError, "no sectors"),
        ("monolithicFlat", 'RW 9999999999999999999 FLAT "f" 0', UsageError, "larger than any disk"),
        ("monolithicFlat", 'RW x FLAT "f" 0', UsageError, "line 6"),
        ("monolithicFlat", "RW 1 FLAT", UsageError, "no file"),
        ("monolithicFlat", "a" * 5000, UsageError, "line 6 .* has 5000 characters"),
        ("monolithicFlat", 'NOACCESS 1 FLAT "f" 0', UnsupportedError, "NOACCESS"),
        ("monolithicFlat", "", UsageError, "no extent"),
        ("twoGbMaxExtentSparse", 'RW 1 SPARSE "f"', UsageError, "COWD"),
        ("seSparse", 'RW 1 SESPARSE "f"', UsageError, "no SEsparse"),
        ("fullDevice", 'RW 1 FLAT "/dev/sda" 0', UnsupportedError, "fullDevice"),
        ("vmfsRDM", 'RW 1 VMFSRDM "f"', UnsupportedError, "RDM"),
        ("custom", 'RW 1 VMFSRDM "f"', UnsupportedError, "VMFSRDM"),
        ("vmfs", 'RW 1 VMFS "vsan://5a1c"', UnsupportedError, "vSAN"),
    ],
)
def test_a_descriptor_that_names_no_readable_file_beside_it_is_refused(kind, line, error, why, tmp_path):
    inside = tmp_path / "in"
    inside.mkdir()
    (tmp_path / "secret").write_bytes(bytes(SECTOR))
    (inside / "f").write_bytes(bytes(2 * SECTOR))
    (inside / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(inside / "pipe")

    with pytest.raises(error, match=why):
        open_vmdk(describe(inside / "d.vmdk", kind, [line]))


def test_a_piece_of_an_image_is_refused_with_the_name_of_what_to_open(tmp_path):
    write_raw(tmp_path / "raw", MIB, {0: b"x" * 4096})
    qemu_img("convert", "-O", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", tmp_path / "raw", tmp_path / "d.vmdk")
    write_cowd(tmp_path / "delta.vmdk", 2048, {})

    for name in ("d-s001.vmdk", "delta.vmdk"):
        with pytest.raises(UsageError, match="name the small"):
            open_vmdk(tmp_path / name)


def test_a_snapshot_of_esxi_that_was_not_closed_is_refused(tmp_path):
    write_sesparse(tmp_path / "s", 8, {}, replay=1)

    with pytest.raises(UsageError, match="journal"):
        open_vmdk(describe(tmp_path / "d.vmdk", "seSparse", ['RW 8 SESPARSE "s"']))


def test_an_image_of_more_files_than_may_be_open_is_refused_with_the_remedy(tmp_path):
    lines = [f'RW 1 FLAT "f{number}" 0' for number in range(60_000)]

    with (
        patch("resource.getrlimit", return_value=(1024, 4096)),
        pytest.raises(UsageError, match=r"has 60000 files, .* 'ulimit -n 60200'"),
    ):
        open_vmdk(describe(tmp_path / "d.vmdk", "twoGbMaxExtentFlat", lines))


def test_a_disk_that_its_program_did_not_close_is_refused(tmp_path):
    write_raw(tmp_path / "raw", MIB, {0: b"x" * 4096})
    qemu_img("convert", "-O", "vmdk", tmp_path / "raw", tmp_path / "d.vmdk")
    with (tmp_path / "d.vmdk").open("r+b") as file:
        file.seek(72)
        file.write(b"\1")

    with pytest.raises(UsageError, match="was not closed properly"):
        open_vmdk(tmp_path / "d.vmdk")


def test_a_stream_that_is_cut_off_is_refused(tmp_path):
    pieces = [(0, memoryview(b"abc." * 1024))]
    stream = b"".join(StreamVmdk(VmdkFacts(name="disk"), capacity=2 * MIB).parts(pieces))

    for length in (len(stream) - SECTOR, 70_000, 600, 5):
        (tmp_path / "d.vmdk").write_bytes(stream[:length])
        with pytest.raises(UsageError, match="cut off"):
            open_vmdk(tmp_path / "d.vmdk")


def read_stream(tmp_path, change):
    pieces = [(0, memoryview(b"abc." * 16384)), (65536, memoryview(b"def." * 16384))]
    stream = bytearray(b"".join(StreamVmdk(VmdkFacts(name="disk"), capacity=131072).parts(pieces)))
    change(stream)
    (tmp_path / "d.vmdk").write_bytes(stream)
    with open_vmdk(tmp_path / "d.vmdk") as source:
        return read_all(source, source.allocated())


def test_a_grain_that_inflates_beyond_its_size_is_refused(tmp_path):
    def change(stream):
        bomb = zlib.compress(bytes(200_000))
        stream[65536 + 8 : 65536 + 12 + len(bomb)] = len(bomb).to_bytes(4, "little") + bomb

    with pytest.raises(UsageError, match=r"d\.vmdk: is damaged at byte 65536: .*65536 bytes that it should"):
        read_stream(tmp_path, change)


def test_a_grain_with_a_wrong_byte_or_in_the_place_of_another_is_refused(tmp_path):
    def damage(stream):
        stream[65536 + 40] ^= 1

    def exchange(stream):
        stream[65536 : 65536 + 8] = (128).to_bytes(8, "little")

    for change in (damage, exchange):
        with pytest.raises(UsageError, match="is damaged at byte 65536"):
            read_stream(tmp_path, change)


def test_two_parts_of_the_disk_in_one_place_of_the_file_are_refused(tmp_path):
    raw = write_raw(tmp_path / "raw", 4 * 65536, {0: b"x" * 4 * 65536})
    stored = [Extent(0, 4 * 65536)]
    path = write_layout(plan_vmdk(VmdkKind.THIN, VmdkFacts(name="d"), capacity=4 * 65536, stored=stored), tmp_path, raw)
    data = bytearray(path.read_bytes())
    table = data.rindex((128).to_bytes(4, "little") + (256).to_bytes(4, "little"))
    data[table + 4 : table + 8] = data[table : table + 4]
    path.write_bytes(data)

    with open_vmdk(path) as source, pytest.raises(UsageError, match="another part"):
        source.allocated()
