"""NTFS as Windows leaves it on large and old volumes, and as somebody may leave it who hides a file."""

from __future__ import annotations

import itertools
import re
import struct
import subprocess

import pytest

from tests.guest_disks import in_guest
from tests.guest_files import image, walk
from tests.nbd_parts import MemoryDisk
from tests.unit.guest.ntfsrecords import NtfsRecords, in_clusters, resident, runs_of
from vmkeep.errors import CorruptError
from vmkeep.guest.filesystems import open_file_system
from vmkeep.guest.volumes import find_volumes
from vmkeep.model.guestfiles import FileKind
from vmkeep.model.scanning import ScannerFacts
from vmkeep.scanning import Scan, Verdict, VerdictKind
from vmkeep.scanning.walking import choose_files

DATA, LIST, REPARSE = 0x80, 0x20, 0xC0
ROOT = 5


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return image("ntfs", tmp_path_factory.mktemp("images")).read_bytes()


@pytest.fixture
def disk(made):
    return MemoryDisk(bytearray(made))


def paths(disk):
    with open_file_system(disk, "ntfs", what="disk0p1") as files:
        return [entry.path for entry in files.entries("/")]


def listing(records, attributes):
    """An attribute list: where each attribute of a record lies."""
    value = b""
    for attribute, place in attributes:
        kind, letters = struct.unpack_from("<I", attribute)[0], attribute[9]
        (name_at,) = struct.unpack_from("<H", attribute, 10)
        name = attribute[name_at : name_at + 2 * letters]
        first = struct.unpack_from("<Q", attribute, 16)[0] if attribute[8] else 0
        (number,) = struct.unpack_from("<H", attribute, 14)
        length = -(-(26 + len(name)) // 8) * 8
        reference = place | records.sequence(place) << 48
        value += (struct.pack("<IHBBQQH", kind, length, letters, 26, first, reference, number) + name).ljust(
            length, b"\0"
        )
    return resident(LIST, value, number=90)


def joined(clusters):
    """Clusters as runs: how many, and where the first one lies."""
    runs = []
    for at in clusters:
        if runs and runs[-1][0] + runs[-1][1] == at:
            runs[-1] = (runs[-1][0] + 1, runs[-1][1])
        else:
            runs.append((1, at))
    return runs


def continue_table(disk, *, parts, where=(14, 13, 12)):
    """Let the master file table's own record be continued in others, as on a volume where it grew in pieces."""
    records = NtfsRecords(disk)
    own = records.attributes(0)
    (data,) = [each for each in own if struct.unpack_from("<I", each)[0] == DATA]
    clusters = [place + at for count, place in runs_of(data) for at in range(count)]
    first = -(-24 * records.size // records.cluster)  # the records up to 23 stay where NTFS expects them
    cuts = [0, *(first + (len(clusters) - first) * at // parts for at in range(parts)), len(clusters)]
    pieces = []
    for number, (start, stop) in enumerate(itertools.pairwise(cuts)):
        if start < stop:
            place = 0 if not start else where[number - 1]
            pieces.append((in_clusters(data, start, joined(clusters[start:stop]), 50 + number), place))
    others = [(each, 0) for each in own if struct.unpack_from("<I", each)[0] not in (DATA, LIST)]
    everything = sorted([*others, *pieces], key=lambda pair: struct.unpack_from("<I", pair[0])[0])
    base = records.sequence(0) << 48
    for place in {place for _, place in pieces if place}:
        records.write(place, [each for each, at in pieces if at == place], base=base)
    kept = [each for each, at in everything if not at]
    split = next(at for at, each in enumerate(kept) if struct.unpack_from("<I", each)[0] > LIST)
    records.write(0, [*kept[:split], listing(records, everything), *kept[split:]])


@pytest.mark.parametrize("parts", [1, 3])
def test_a_table_of_records_that_is_continued_in_other_records_is_read(disk, parts, tmp_path):
    before = paths(disk)
    continue_table(disk, parts=parts)
    (tmp_path / "image").write_bytes(disk.content)
    told = subprocess.run(["ntfsls", "-f", tmp_path / "image"], capture_output=True, text=True, check=False)

    assert paths(disk) == before
    assert {f"/{name}" for name in told.stdout.split("\n") if name} >= {path for path in before if ":" not in path}


def test_a_table_whose_parts_lead_to_one_another_in_too_many_steps_is_an_error(disk, monkeypatch):
    before = paths(disk)
    continue_table(disk, parts=3, where=(15, 30, 14))  # record 30 lies in the part that record 15 tells

    assert paths(disk) == before
    monkeypatch.setattr("vmkeep.guest.filesystems.ntfs.records._ROUNDS", 1)
    with pytest.raises(CorruptError, match="continued in too many steps"):
        paths(disk)


def test_a_table_whose_parts_name_only_each_other_is_an_error(disk):
    continue_table(disk, parts=1)
    records = NtfsRecords(disk)
    kept = [each for each in records.attributes(0) if struct.unpack_from("<I", each)[0] != LIST]
    far = resident(LIST, struct.pack("<IHBBQQH", DATA, 32, 0, 26, 9, 1 << 40, 1).ljust(32, b"\0"))
    records.write(0, [kept[0], far, *kept[1:]])

    with pytest.raises(CorruptError, match="does not tell where its records lie"):
        paths(disk)


def test_the_streams_of_the_root_folder_are_listed_and_read(disk):
    records = NtfsRecords(disk)
    own = records.attributes(ROOT)
    split = next(at for at, each in enumerate(own) if struct.unpack_from("<I", each)[0] > DATA)
    records.write(ROOT, [*own[:split], resident(DATA, b"hidden", "ads"), *own[split:]])

    with open_file_system(disk, "ntfs", what="disk0p1") as files:
        (found,) = [entry for entry in files.entries("/") if entry.path == "/:ads"]
        assert (found.kind, found.size) == (FileKind.FILE, 6)
        assert files.open("/:ads").readall() == b"hidden"


@pytest.mark.parametrize("tag", [0xA000000C, 0x80000023, 0x80000025], ids=["link", "socket", "device"])
def test_a_link_or_device_with_data_beside_it_is_a_file(disk, tag):
    with open_file_system(disk, "ntfs", what="disk0p1") as files:
        number = files.entry("/empty").identity
    records = NtfsRecords(disk)
    own = [each for each in records.attributes(number) if struct.unpack_from("<I", each)[0] != DATA]
    point = resident(REPARSE, struct.pack("<IHH", tag, 0, 0), number=91)
    for data, kind in ((b"", None), (b"hidden", FileKind.FILE)):
        records.write(number, [*own, resident(DATA, data, number=92), point])
        with open_file_system(disk, "ntfs", what="disk0p1") as files:
            found = files.entry("/empty")
            assert (found.kind is FileKind.FILE) is (kind is FileKind.FILE)
            if data:
                assert files.open("/empty").readall() == data


def log_pages(disk):
    """The places of the two restart pages of the log."""
    records = NtfsRecords(disk)
    (data,) = [each for each in records.attributes(2) if struct.unpack_from("<I", each)[0] == DATA]
    place = runs_of(data)[0][1] * records.cluster
    return place, place + 4096


def restart_page(sequence, *, in_use):
    page = bytearray(4096)
    page[:8] = b"RSTR" + struct.pack("<HH", 30, 9)
    struct.pack_into("<IIHH", page, 16, 4096, 4096, 48, 0)
    struct.pack_into("<QHHHH", page, 48, sequence, 1, 0, 0 if in_use else 0xFFFF, 0)
    return bytes(page)


@pytest.mark.parametrize(
    ("pages", "state"),
    [
        ((b"\xff" * 4096, b"\xff" * 4096), "ready"),
        ((restart_page(1, in_use=True), restart_page(2, in_use=False)), "ready"),
        ((restart_page(3, in_use=True), restart_page(2, in_use=False)), "journal needs replay"),
        ((b"garbage ", b"garbage "), "journal needs replay"),
        ((restart_page(3, in_use=False)[:510] + b"??", restart_page(2, in_use=False)), "journal needs replay"),
    ],
    ids=["emptied", "closed", "open", "garbage", "torn"],
)
def test_who_lists_volumes_and_who_reads_files_judge_the_log_alike(disk, pages, state):
    for place, page in zip(log_pages(disk), pages, strict=True):
        disk.content[place : place + len(page)] = page

    (volume,) = find_volumes(in_guest(disk))
    with open_file_system(disk, "ntfs", what="disk0p1") as files:
        told = any("log of NTFS was not closed" in warning for warning in files.warnings)

    assert volume.state == state
    assert told is (state != "ready")


@pytest.mark.parametrize(
    ("tag", "why"),
    [
        (0x80000013, "Windows has deduplicated it"),
        (0x80000017, "Windows has compressed it (WOF, Compact OS)"),
        (0x9000601A, "its content is in a cloud"),
        (0x90001234, "another driver keeps its content (reparse tag 0x90001234)"),
    ],
    ids=["deduplicated", "compressed", "cloud", "unknown"],
)
def test_a_file_whose_content_is_elsewhere_counts_as_not_scanned_with_the_reason(disk, tag, why, tmp_path):
    with open_file_system(disk, "ntfs", what="disk0p1") as files:
        number = files.entry("/resident").identity
        total = sum(1 for _ in choose_files(files))
    records = NtfsRecords(disk)
    point = resident(REPARSE, struct.pack("<IHH", tag, 0, 0), number=91)
    records.write(number, [*records.attributes(number), point])

    scan = Scan([Blind()], threads=1, folder=tmp_path)
    with open_file_system(disk, "ntfs", what="disk0p1") as files:
        done = scan.volume("disk0p1", files, on_progress=lambda _: None)

    assert (done.files, done.unscanned) == (total - 1, 1)
    (left,) = scan.unscanned
    assert left.path == "/resident"
    assert why in left.why


class Blind:
    """A scanner that finds nothing."""

    facts = ScannerFacts(name="Blind", version="1")
    warnings = ()

    def scan(self, content):
        return Verdict(kind=VerdictKind.CLEAN)


def with_stream(disk, number, name, value=b"hidden"):
    """Give a record a stream."""
    records = NtfsRecords(disk)
    own = records.attributes(number)
    split = next((at for at, each in enumerate(own) if struct.unpack_from("<I", each)[0] > DATA), len(own))
    records.write(number, [*own[:split], resident(DATA, value, name), *own[split:]])


def test_the_folder_of_ntfs_is_in_no_listing_of_the_root_and_can_be_listed_and_scanned(disk):
    with_stream(disk, 24, "hidden")  # of $Quota

    assert not [path for path in paths(disk) if "$" in path]
    with open_file_system(disk, "ntfs", what="disk0p1") as files:
        assert [entry.path for entry in files.entries("/$Extend")] == [
            "/$Extend/$ObjId", "/$Extend/$Quota", "/$Extend/$Quota:hidden", "/$Extend/$Reparse"
        ]  # fmt: skip
        assert files.open("/$Extend/$Quota:hidden").readall() == b"hidden"
        scanned = [chosen.entry.path for chosen in choose_files(files)]
        assert "/$Extend/$Quota:hidden" in scanned
        assert set(files_below(files)) < set(scanned)


def files_below(files):
    return [entry.path for entry in walk(files) if entry.kind is FileKind.FILE and entry.links < 2]


def test_a_stream_that_ntfs_did_not_give_its_own_files_is_listed(disk):
    before = paths(disk)
    with_stream(disk, 7, "hidden")  # of $Boot

    assert sorted({*paths(disk)} - {*before}) == ["/$Boot:hidden"]


def test_bad_clusters_that_are_there_are_listed(disk):
    before = paths(disk)
    records = NtfsRecords(disk)
    *rest, stream = records.attributes(8)
    (at,) = struct.unpack_from("<H", stream, 32)
    run = stream[at + 1 : at + 1 + stream[at]]  # without a place: a hole
    records.write(8, [*rest, (stream[:at] + bytes([0x10 | stream[at]]) + run + b"\0\0").ljust(len(stream), b"\0")])

    assert sorted({*paths(disk)} - {*before}) == ["/$BadClus:$Bad"]


def test_a_name_of_ntfs_that_leads_to_another_record_is_listed(disk):
    before = paths(disk)
    name = "$UpCase".encode("utf-16-le")
    entries = [each.start() - 82 for each in re.finditer(re.escape(name), disk.content)]
    (entry,) = [at for at in entries if int.from_bytes(disk.content[at : at + 6], "little") == 10]
    disk.content[entry : entry + 8] = struct.pack("<HIH", 12, 0, 0)  # one that NTFS keeps in reserve

    assert sorted({*paths(disk)} - {*before}) == ["/$UpCase"]
