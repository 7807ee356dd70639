"""The binding through the lab's libvixDiskLib and its NFC service."""

import os
import threading
import time
from functools import partial

import pytest

from tests.patience import HANG, eventually
from vmkeep.errors import (
    AuthenticationError,
    DeadlineError,
    DiskMovedError,
    Recovery,
    TransientError,
    UnreachableError,
    UsageError,
    VddkError,
)
from vmkeep.model.extents import Extent, intersect, split, total
from vmkeep.vddk import allocation
from vmkeep.vddk.diskaddress import DiskAddress, VmAddress
from vmlab.nfc import NfcFault

MIB = 1 << 20
DISK = "[ds] web/web.vmdk"
CHILD = "[ds] web/web-000001.vmdk"


def read(source, extents=None, *, piece_size=MIB, depth=6):
    found = bytearray(source.capacity)
    wanted = extents if extents is not None else [Extent(0, source.capacity)]
    with source.open_reader(wanted, piece_size=piece_size, depth=depth) as reader:
        while (piece := reader.next_piece()) is not None:
            found[piece.start : piece.start + len(piece.data)] = piece.data
            piece.release()
    return bytes(found)


def test_a_disk_is_read_byte_for_byte_over_nbdssl(host, vddk, disk):
    with vddk.open_source(host.address()) as source:
        assert source.transport == "nbdssl"
        assert source.capacity == len(disk)
        assert read(source) == disk
    asked = host.authority.asked[0]
    assert (asked["vmx_spec"], asked["snapshot_ref"], asked["read_only"]) == ("moref=vm-16", "snapshot-3", True)
    assert asked["transports"] == "nbdssl:nbd"


def test_allocated_extents_hold_all_data_and_skip_the_rest(host, vddk, disk):
    with vddk.open_source(host.address()) as source:
        allocated = source.allocated()
        assert allocated is not None
        assert read(source, allocated) == disk
    assert 8 * MIB <= total(allocated) <= 9 * MIB
    assert allocated[-1].stop == len(disk)  # the unaligned tail counts as allocated


def test_a_snapshot_is_read_through_its_chain(host, vddk, disk):
    host.store.create_child(DISK, CHILD)
    with host.store.open(CHILD, writable=True) as handle:
        handle.write(2 * MIB, b"new!" * 1024)
    with vddk.open_source(host.address()) as source:
        assert read(source) == disk
    changed = disk[: 2 * MIB] + b"new!" * 1024 + disk[2 * MIB + 4096 :]
    with vddk.open_source(host.address(CHILD)) as source:
        assert read(source) == changed


def test_any_extents_come_as_they_were_cut(host, vddk, disk):
    extents = [Extent(512, 3 * MIB + 512), Extent(20 * MIB, 20 * MIB + 65536), Extent(len(disk) - 512, len(disk))]
    with vddk.open_source(host.address()) as source, source.open_reader(extents, piece_size=65536, depth=9) as reader:
        found = {}
        while (piece := reader.next_piece()) is not None:
            found[piece.start] = bytes(piece.data)
            piece.release()
    assert found == {e.start: disk[e.start : e.stop] for e in split(extents, 65536)}


def test_what_is_written_is_in_the_datastore(host, vddk, disk):
    turned = disk[::-1]
    address = host.address(snapshot=None)
    with vddk.open_target(address) as target:
        assert target.allocated() is not None
        pieces = list(split([Extent(0, target.capacity)], MIB))
        threads = [
            threading.Thread(
                target=lambda part=part: [target.write(e.start, memoryview(turned)[e.start : e.stop]) for e in part]
            )
            for part in (pieces[0::2], pieces[1::2])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        target.write_zeroes(MIB, 2 * MIB)
        target.flush()
        assert target.allocated() is None  # what it was told before is stale
    expected = turned[:MIB] + bytes(2 * MIB) + turned[3 * MIB :]
    with host.store.open(DISK) as handle:
        assert handle.read(0, handle.capacity) == expected


def test_disks_that_many_threads_ask_for_are_opened_and_closed_on_one(host, vddk, disk):
    """The library fails the second open of "thread 1 Open … Close, then thread 2 Open … Close"."""
    found = []

    def use(hold):
        with vddk.open_source(host.address()) as source:
            hold.wait(HANG)
            found.append(read(source, [Extent(0, 2 * MIB)])[: 2 * MIB])

    for together in (1, 3):
        hold = threading.Barrier(together)
        threads = [threading.Thread(target=use, args=(hold,)) for _ in range(together)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [disk[: 2 * MIB]] * 4
    eventually(lambda: not host.nfc.sessions(), "the end of every session")


def test_a_written_disk_is_read_back_in_the_same_process(host, vddk, disk):
    with vddk.open_target(host.address(snapshot=None)) as target:
        target.write(0, memoryview(b"new!" * 128))
        target.flush()
    with vddk.open_source(host.address(snapshot=None)) as source:
        assert source.allocated() is not None
        assert read(source) == b"new!" * 128 + disk[512:]


def test_two_disks_are_read_at_once(host, vddk, disk):
    everything = [Extent(0, len(disk))]
    with (
        vddk.open_source(host.address()) as one,
        one.open_reader(everything, piece_size=MIB, depth=2),
        vddk.open_source(host.address()) as other,
    ):
        assert read(other) == disk


def test_allocated_blocks_are_asked_for_before_reading(host, vddk, disk):
    everything = [Extent(0, len(disk))]
    with (
        vddk.open_source(host.address()) as source,
        source.open_reader(everything, piece_size=MIB, depth=2),
        pytest.raises(UsageError, match="before"),
    ):
        source.allocated()


@pytest.mark.parametrize("passed", [0, 1, 4])
def test_a_query_that_fails_half_way_means_reading_everything_and_says_so(
    host, vddk, disk, caplog, monkeypatch, passed
):
    monkeypatch.setattr(allocation, "windows", partial(allocation.windows, limit=64))  # six queries for this disk
    host.nfc.inject(NfcFault(code=16002, on="query", after_requests=passed))
    with vddk.open_source(host.address()) as source:
        assert source.allocated() is None
        assert any("VixError 16002" in text and "reading the whole disk instead" in text for text in caplog.messages)
        assert read(source) == disk
        allocated = source.allocated()  # the fault is over
        assert allocated is not None
        assert read(source, allocated) == disk


def test_a_disk_that_was_cut_off_is_an_error_and_never_holes(host, vddk, disk, caplog):
    with vddk.open_source(host.address()) as source:
        os.truncate(host.store.path("[ds] web/web-flat.vmdk"), 4 * MIB)
        assert source.allocated() is None
        assert any("reading the whole disk instead" in record.message for record in caplog.records)
        with pytest.raises(VddkError, match=r"reading .* of \[ds\] web/web.vmdk of VM web: .*VixError 16002"):
            read(source)


def test_metadata_is_read_and_written(host, vddk, disk):
    with vddk.open_target(host.address(snapshot=None)) as target:
        target.write_metadata({"toolsVersion": "12345"})
        found = target.metadata()
    assert found["toolsVersion"] == "12345"
    assert found["adapterType"] == "lsilogic"


def vm_address(host, identity, **changes):
    address = host.address(**changes)
    return VmAddress(vcenter=address.vcenter, vm=address.vm, identity=identity)


def test_opening_a_disk_neither_prepares_nor_ends_an_access(host, vddk, disk):
    vddk.prepare_access(vm_address(host, "vmkeep"))
    with vddk.open_source(host.address()):
        assert host.authority.held == [("moref=vm-16", "vmkeep")]
    assert host.authority.held == [("moref=vm-16", "vmkeep")]
    vddk.end_access(vm_address(host, "vmkeep"))
    assert host.authority.held == []


def test_access_that_a_dead_process_left_is_ended_before_access_is_prepared(host, vddk):
    host.authority.held += [("moref=vm-16", "vmkeep"), ("moref=vm-16", "another program")]
    vddk.prepare_access(vm_address(host, "vmkeep"))
    vddk.end_access(vm_address(host, "vmkeep"))
    assert host.authority.held == [("moref=vm-16", "another program")]


@pytest.mark.parametrize("identity", ["", "x" * 51, "é" * 26])
def test_an_identity_that_vddk_would_cut_is_refused_before_anything_is_sent(host, identity):
    with pytest.raises(UsageError, match="1 to 50 bytes"):
        vm_address(host, identity)


def test_access_that_is_refused_names_the_vm_and_what_may_be_missing(host, vddk):
    host.nfc.inject(NfcFault(code=16064, on="prepare"))
    with pytest.raises(VddkError, match=r"keeping Storage vMotion off VM web: .*Global\.DisableMethods"):
        vddk.prepare_access(vm_address(host, "vmkeep"))


@pytest.mark.parametrize("on", ["end", "prepare"])
def test_a_vcenter_that_does_not_answer_is_a_deadline(host, vddk, on):
    host.nfc.inject(NfcFault(on=on, hang_seconds=30))
    with pytest.raises(DeadlineError, match="Storage vMotion"):
        vddk.prepare_access(vm_address(host, "vmkeep"), patience=1)
    assert vddk.lost
    host.nfc.stop()


def test_a_wrong_thumbprint_is_an_error_that_suggests_it(host, vddk, disk):
    opening = vddk.open_source(host.address(thumbprint="cd" * 20))
    with pytest.raises(VddkError, match=r"opening \[ds\] web/web.vmdk of VM web .*thumbprint"), opening:
        pass


def test_a_library_that_takes_no_sha1_is_told_the_sha256_of_the_certificate(host, vddk, disk):
    host.authority.thumbprint = ":".join(["CD"] * 32)
    for digest in ("cd" * 32, ":".join(["CD"] * 32)):
        with vddk.open_source(host.address(also_sha256=digest)) as source:
            assert read(source, [Extent(0, MIB)])[:MIB] == disk[:MIB]
    with vddk.open_target(host.address(also_sha256="cd" * 32, snapshot=None)) as target:
        target.flush()
    assert host.authority.held == []


def test_an_error_that_no_thumbprint_mends_is_told_as_it_came_first(host, vddk, disk):
    host.authority.thumbprint = ":".join(["EF"] * 32)
    opening = vddk.open_source(host.address(also_sha256="cd" * 32))
    with pytest.raises(VddkError, match=r"VixError 1\); a wrong thumbprint"), opening:
        pass
    opened = next(row.calls for row in vddk.timings() if row.name == "Open")
    assert opened == 2


def test_only_an_unknown_error_is_worth_another_thumbprint(host, vddk, disk):
    host.nfc.inject(NfcFault(code=14009, on="open"))
    opening = vddk.open_source(host.address(also_sha256="cd" * 32))
    with pytest.raises(UnreachableError), opening:
        pass
    assert len([row for row in vddk.timings() if row.name == "Open" and row.calls == 1]) == 1


def test_a_sha256_thumbprint_is_refused_before_anything_is_sent(host, vddk, disk):
    opening = vddk.open_source(host.address(thumbprint="cd" * 32))
    with (
        pytest.raises(UsageError, match=r"SHA-1 thumbprint of 127\.0\.0\.1's certificate; a SHA-256 was given"),
        opening,
    ):
        pass
    assert host.authority.asked == []


def test_a_wrong_password_is_an_authentication_error_without_the_password(host, vddk, disk):
    opening = vddk.open_source(host.address(password="wr0ng"))
    with pytest.raises(AuthenticationError, match="check user name and password") as caught, opening:
        pass
    assert "wr0ng" not in str(caught.value)


def test_a_login_that_vcenter_has_no_room_for_may_be_tried_again(host, vddk, disk):
    host.nfc.inject(NfcFault(code=3046, on="connect"))
    opening = vddk.open_source(host.address())
    with pytest.raises(TransientError, match=r"connecting to 127\.0\.0\.1 .*VixError 3046.*fewer disks"), opening:
        pass
    with vddk.open_source(host.address()) as source:
        assert read(source) == disk


def test_a_certificate_may_be_refused_when_connecting_too(host, vddk, disk):
    host.nfc.inject(NfcFault(code=1, on="connect"))
    opening = vddk.open_source(host.address())
    with pytest.raises(VddkError, match=r"connecting to 127\.0\.0\.1 .*thumbprint"), opening:
        pass


def test_a_missing_disk_is_named(host, vddk):
    opening = vddk.open_source(host.address("[ds] web/gone.vmdk"))
    with pytest.raises(DiskMovedError, match=r"\[ds\] web/gone.vmdk of VM web") as caught, opening:
        pass
    assert caught.value.recovery is Recovery.RETRY


def test_a_service_that_is_gone_may_come_back(host, vddk, disk):
    host.nfc.stop()
    opening = vddk.open_source(host.address())
    with pytest.raises(UnreachableError, match="port 902") as caught, opening:
        pass
    assert caught.value.recovery is Recovery.RETRY


def test_too_many_sessions_on_a_host_may_be_tried_again(host, vddk, disk):
    host.authority.nfc_session_limit = 1
    with vddk.open_source(host.address()):
        opening = vddk.open_source(host.address())
        with pytest.raises(VddkError, match="NFC memory") as caught, opening:
            pass
    assert (caught.value.code, caught.value.recovery) == (2, Recovery.RETRY)


def test_an_error_in_the_middle_of_the_reads_names_the_place(host, vddk, disk):
    with vddk.open_source(host.address()) as source:
        host.nfc.inject(NfcFault(code=14011, on="read", after_requests=5))
        with pytest.raises(UnreachableError, match=r"reading 65536 bytes at byte \d+ of \[ds\] web/web.vmdk of VM web"):
            read(source, piece_size=65536)
    with vddk.open_source(host.address()) as source:
        assert read(source) == disk


def test_a_hanging_host_is_a_deadline(host, vddk, disk):
    host.nfc.inject(NfcFault(on="read", after_requests=5, hang_seconds=30, count=None))
    opening = vddk.open_source(host.address(), patience=5)
    with (
        pytest.raises(DeadlineError, match=r"VDDK to read byte \d+ of \[ds\] web/web.vmdk of VM web"),
        opening as source,
    ):
        read(source, piece_size=65536)
    host.nfc.stop()


def test_depth_hides_the_latency_of_the_network(host, vddk, disk):
    host.authority.latency = 0.1
    seconds = {}
    for depth in (1, 8):
        with vddk.open_source(host.address()) as source:
            started = time.monotonic()
            assert read(source, piece_size=1 << 20, depth=depth) == disk
            seconds[depth] = time.monotonic() - started
    assert seconds[8] < seconds[1]  # 2.4 s of latency come one after the other, or eight at once


def test_a_plain_local_file_is_a_disk_too(vddk, tmp_path):
    content = bytes(range(256)) * 8192
    (tmp_path / "flat.raw").write_bytes(content)
    with vddk.open_source(DiskAddress(path=str(tmp_path / "flat.raw"))) as source:
        assert source.transport == "file"
        allocated = source.allocated() or (Extent(0, source.capacity),)
        assert read(source, intersect(allocated, [Extent(0, source.capacity)])) == content


def test_transports_of_the_library_are_listed(vddk):
    assert {"file", "nbdssl", "nbd"} <= set(vddk.transports())
