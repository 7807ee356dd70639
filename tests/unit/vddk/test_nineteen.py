"""The binding against a library with only the 19 oldest symbols, in every way it may call back."""

import shutil
import threading
import time
from collections import deque

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vmkeep.errors import DeadlineError, DiskMovedError, Recovery, TransferError, UsageError, VddkError, VmKeepError
from vmkeep.model.extents import Extent, coalesce, split
from vmkeep.model.vmref import VmRef
from vmkeep.vddk.diskaddress import DiskAddress
from vmkeep.vddk.initialised import open_vddk

MIB = 1 << 20
WAYS = ["", "thread", "reverse", "sync", "thread,delay=200"]


@pytest.fixture
def content():
    return bytes(range(251)) * (3 * MIB // 251) + bytes(3 * MIB % 251) + b"tail" * 128


@pytest.fixture
def disk(tmp_path, content):
    path = tmp_path / "disk.raw"
    path.write_bytes(content)
    return path


@pytest.fixture
def vddk(nineteen, monkeypatch, request, tmp_path):
    # A copy for each test: one that was left hanging is of no use to the next.
    shutil.copytree(nineteen, tmp_path / "vddk", symlinks=True)
    monkeypatch.setenv("FAKE_VDDK", getattr(request, "param", ""))
    with open_vddk(tmp_path / "vddk") as opened:
        yield opened


def read(source, extents, *, piece_size=65536, depth=4, workers=1):
    """Read extents with some worker threads; return start → bytes, or raise the first error."""
    found, errors = {}, []

    def work(reader):
        try:
            while (piece := reader.next_piece()) is not None:
                found[piece.start] = bytes(piece.data)
                piece.release()
        except VmKeepError as error:
            errors.append(error)

    with source.open_reader(extents, piece_size=piece_size, depth=depth) as reader:
        threads = [threading.Thread(target=work, args=(reader,)) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        assert len(errors) == workers
        raise errors[0]
    return found


@pytest.mark.parametrize("vddk", WAYS, indirect=True)
@pytest.mark.parametrize("workers", [1, 3])
def test_every_byte_is_read_once_however_the_library_calls_back(vddk, disk, content, workers):
    with vddk.open_source(DiskAddress(path=str(disk))) as source:
        assert source.capacity == len(content)
        assert source.transport == "file"
        assert source.allocated() is None  # the symbol is missing
        assert source.metadata() == {}
        found = read(source, [Extent(0, source.capacity)], workers=workers)
    assert b"".join(found[start] for start in sorted(found)) == content


@pytest.mark.parametrize("vddk", ["thread"], indirect=True)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    runs=st.lists(st.tuples(st.integers(0, 6100), st.integers(1, 200)), max_size=8),
    piece=st.sampled_from([512, 4096, 65536, MIB]),
    depth=st.integers(1, 9),
)
def test_pieces_are_exactly_the_extents_cut_at_multiples_of_the_piece(vddk, disk, content, runs, piece, depth):
    size = len(content)
    extents = coalesce(Extent(s * 512, min((s + n) * 512, size)) for s, n in runs if s * 512 < size)
    with vddk.open_source(DiskAddress(path=str(disk))) as source:
        found = read(source, extents, piece_size=piece, depth=depth)
    assert found == {e.start: content[e.start : e.stop] for e in split(extents, piece)}


@pytest.mark.parametrize("vddk", ["thread"], indirect=True)
def test_no_more_than_depth_pieces_are_read_ahead(vddk, disk):
    with (
        vddk.open_source(DiskAddress(path=str(disk))) as source,
        source.open_reader([Extent(0, source.capacity)], piece_size=65536, depth=3) as reader,
    ):
        time.sleep(0.2)
        reads = next(row for row in vddk.timings() if row.name == "ReadAsync")
        assert reads.calls - 1 <= 3  # one more is the probe
        piece = reader.next_piece()
        assert piece is not None
        piece.release()


@pytest.mark.parametrize("vddk", ["thread", "reverse", ""], indirect=True)
def test_leaving_early_waits_for_what_is_in_flight(vddk, disk):
    with vddk.open_source(DiskAddress(path=str(disk))) as source:
        for _ in range(20):
            with source.open_reader([Extent(0, source.capacity)], piece_size=4096, depth=16) as reader:
                piece = reader.next_piece()
                assert piece is not None
        assert not vddk.lost
        with pytest.raises(TransferError, match="stopped before its end"):
            deque(iter(reader.next_piece, None), maxlen=0)


@pytest.mark.parametrize("vddk", ["fail=5:14011", "fail=5:14011,thread", "fail=5:14011,reverse"], indirect=True)
def test_an_error_of_any_read_reaches_every_worker(vddk, disk):
    with (
        vddk.open_source(DiskAddress(path=str(disk))) as source,
        pytest.raises(Exception, match=r"reading 65536 bytes at byte \d+ of .*fake error 14011") as caught,
    ):
        read(source, [Extent(0, source.capacity)], workers=3)
    assert caught.value.recovery is Recovery.RETRY
    assert not vddk.lost


@pytest.mark.parametrize("vddk", ["refuse=1:2", "refuse=5:2", "refuse=5:2,thread"], indirect=True)
def test_a_refused_request_is_an_error(vddk, disk):
    with (
        vddk.open_source(DiskAddress(path=str(disk))) as source,
        pytest.raises(VddkError, match="fake error 2") as caught,
    ):
        read(source, [Extent(0, source.capacity)])
    assert caught.value.code == 2


@pytest.mark.parametrize("vddk", ["zero=1", "zero=5", "zero=5,thread"], indirect=True)
def test_a_request_that_is_neither_accepted_nor_refused_is_an_error_at_once(vddk, disk):
    with (
        vddk.open_source(DiskAddress(path=str(disk))) as source,
        pytest.raises(VddkError, match="reading"),
    ):
        read(source, [Extent(0, source.capacity)])


@pytest.mark.parametrize("vddk", ["hang=4,thread", "hang=4", "hang=4,sync"], indirect=True)
def test_a_read_that_never_completes_is_a_deadline_that_names_disk_and_offset(vddk, disk):
    expected = rf"gave up after 2 s waiting for VDDK to read .*{disk.name}"
    address = DiskAddress(path=str(disk))
    with pytest.raises(DeadlineError, match=expected), vddk.open_source(address, patience=2) as source:
        read(source, [Extent(0, source.capacity)], workers=2)
    assert vddk.lost  # so nothing waits for the library any more


@pytest.mark.parametrize("vddk", ["hangopen"], indirect=True)
def test_an_open_that_never_returns_is_a_deadline(vddk, disk):
    opening = vddk.open_source(DiskAddress(path=str(disk)), patience=0.3)
    with pytest.raises(DeadlineError, match=r"VDDK to open .*disk\.raw"), opening:
        pass


def test_a_missing_file_is_named(vddk, tmp_path):
    opening = vddk.open_source(DiskAddress(path=str(tmp_path / "gone.raw")))
    with pytest.raises(DiskMovedError, match=r"opening .*/gone\.raw for reading: fake error 4"), opening:
        pass


@pytest.mark.parametrize("vddk", ["open=1"], indirect=True)
def test_the_catch_all_error_says_what_to_look_at(vddk, disk):
    opening = vddk.open_source(DiskAddress(path=str(disk), vm=VmRef(moref="vm-1", name="web")))
    with pytest.raises(VddkError, match=r"of VM web for reading: .*VixError 1\); .*snapshot"), opening:
        pass


def test_reads_outside_the_disk_are_refused_before_the_library_sees_them(vddk, disk):
    with vddk.open_source(DiskAddress(path=str(disk))) as source:
        for extent in (Extent(0, source.capacity + 512), Extent(100, 612)):
            with pytest.raises(UsageError, match="whole sectors"):
                source.open_reader([extent], piece_size=65536, depth=1)


@pytest.mark.parametrize("vddk", WAYS, indirect=True)
def test_what_many_threads_write_is_what_is_read_back(vddk, disk, content):
    turned = content[::-1]
    with vddk.open_target(DiskAddress(path=str(disk))) as target:
        work = list(split([Extent(0, target.capacity)], 65536))

        def write():
            while work:
                try:
                    extent = work.pop()
                except IndexError:
                    return
                target.write(extent.start, memoryview(turned)[extent.start : extent.stop])

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        target.write_zeroes(MIB, MIB + 512)
        target.flush()
        assert target.allocated() is None
    expected = bytearray(turned)
    expected[MIB : 2 * MIB + 512] = bytes(MIB + 512)
    assert disk.read_bytes() == bytes(expected)


@pytest.mark.parametrize("vddk", ["wfail=3:8", "wfail=3:8,thread", "wfail=1:8,thread", "wfail=1:8"], indirect=True)
def test_a_failed_write_raises_in_the_thread_that_wrote(vddk, disk):
    with vddk.open_target(DiskAddress(path=str(disk))) as target:
        data = memoryview(bytes(4096))

        def write_three():
            for _ in range(3):
                target.write(8192, data)

        with pytest.raises(VddkError, match=r"writing 4096 bytes at byte 8192 .*fake error 8") as caught:
            write_three()
        assert caught.value.recovery is Recovery.STOP
        target.write(0, data)
        target.flush()


def test_writes_are_whole_sectors_of_the_disk(vddk, disk):
    with vddk.open_target(DiskAddress(path=str(disk))) as target:
        for start, length in ((1, 512), (0, 100), (target.capacity, 512)):
            with pytest.raises(UsageError, match="whole sectors"):
                target.write(start, memoryview(bytes(length)))


def test_an_initialisation_that_fails_is_told(nineteen, monkeypatch):
    monkeypatch.setenv("FAKE_VDDK", "init=16053")
    with pytest.raises(VddkError, match=r"initialising VDDK 6\.5\.0 .*fake error 16053"), open_vddk(nineteen):
        pass


def test_log_lines_are_formatted_and_noise_is_demoted(nineteen, monkeypatch, caplog):
    monkeypatch.setenv("FAKE_VDDK", "")
    with caplog.at_level("DEBUG", logger="vmkeep.vddk.library"), open_vddk(nineteen):
        pass
    texts = {record.message: record.levelname for record in caplog.records if record.name == "vmkeep.vddk.library"}
    assert texts[f"init 6.5 in {nineteen}"] == "DEBUG"
    assert texts["VDDK_PhoneHome: noise number 42 of 1.5"] == "DEBUG"


def test_every_call_is_in_the_table(vddk, disk):
    with vddk.open_source(DiskAddress(path=str(disk))) as source:
        read(source, [Extent(0, MIB)])
    rows = {row.name: row for row in vddk.timings()}
    assert rows["ReadAsync to callback"].bytes == MIB
    assert {"InitEx", "ConnectEx", "Open", "GetInfo", "Close", "Disconnect"} <= rows.keys()


def test_a_library_that_can_tell_is_asked(querying, monkeypatch, disk, content):
    monkeypatch.setenv("FAKE_VDDK", "")
    with open_vddk(querying) as vddk, vddk.open_source(DiskAddress(path=str(disk))) as source:
        assert source.allocated() == (Extent(0, len(content)),)


def test_a_query_that_fails_means_reading_everything(querying, monkeypatch, disk, caplog):
    monkeypatch.setenv("FAKE_VDDK", "query=6")
    with open_vddk(querying) as vddk, vddk.open_source(DiskAddress(path=str(disk))) as source:
        assert source.allocated() is None
    assert any("reading the whole disk instead" in record.message for record in caplog.records)


def test_a_query_that_never_returns_is_a_deadline(querying, monkeypatch, disk, tmp_path):
    shutil.copytree(querying, tmp_path / "own", symlinks=True)
    monkeypatch.setenv("FAKE_VDDK", "hangquery")
    with (
        pytest.raises(DeadlineError, match="VDDK to tell the allocated blocks of"),
        open_vddk(tmp_path / "own") as vddk,
        vddk.open_source(DiskAddress(path=str(disk)), patience=2) as source,
    ):
        source.allocated()


@pytest.mark.parametrize("vddk", ["wrefuse=1:2", "wrefuse=3:2", "wrefuse=3:2,thread"], indirect=True)
def test_a_write_that_is_not_accepted_is_no_success(vddk, disk):
    def write_all(target):
        for number in range(3):
            target.write(number * 4096, memoryview(bytes(4096)))

    with (
        vddk.open_target(DiskAddress(path=str(disk))) as target,
        pytest.raises(VddkError, match="fake error 2"),
    ):
        write_all(target)


@pytest.mark.parametrize("vddk", ["", "sync"], indirect=True)
def test_flushing_a_target_reaches_the_library(vddk, disk):
    with vddk.open_target(DiskAddress(path=str(disk))) as target:
        target.write(0, memoryview(bytes(512)))
        target.flush()

    calls = {row.name: row.calls for row in vddk.timings()}
    assert calls["Flush"] == calls["Wait"] == 1
