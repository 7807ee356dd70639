"""Refusals of the stand-in, with the real library's codes, and the faults that tests can plant."""

import base64
import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.patience import eventually
from vmlab.nfc import NfcFault

DISK = "[ds] vm/vm.vmdk"
READ_ONLY = 4


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"thumbprint": "aa:bb:cd"}, 1),
        ({"thumbprint": None}, 1),
        ({"thumbprint": "AABBCC"}, 0),
    ],
)
def test_a_thumbprint_is_found_wrong_at_open(lab: Any, disk: bytes, changed: dict[str, Any], code: int) -> None:
    assert lab.remote(["open", DISK, READ_ONLY], **changed)[0] == code


def test_connecting_logs_in(lab: Any, disk: bytes) -> None:
    assert lab.connect() == 0
    assert lab.connect(second="wrong") == 35
    assert lab.authority.asked == []
    lab.nfc.inject(NfcFault(code=3046, on="connect"))
    assert [lab.connect(), lab.connect()] == [3046, 0]


def test_a_connection_whose_kind_of_object_nobody_named_is_an_invalid_argument(lab: Any, disk: bytes) -> None:
    assert lab.connect(spec_type=256) == 3
    assert lab.connect(spec_type=1) == 6


def test_opens_and_closes_on_a_second_thread_fail_also_one_after_the_other(lab: Any, disk: bytes) -> None:
    opened, closed, elsewhere, again = lab.remote(
        ["on_another_thread", "open", DISK, READ_ONLY], ["on_another_thread", "close"],
        ["on_another_thread", "open", DISK, READ_ONLY], ["open", DISK, READ_ONLY],
    )  # fmt: skip
    assert (opened, elsewhere, again) == (0, 1, 1)
    assert closed == 1  # that was a second thread, too
    assert lab.remote(["open", DISK, READ_ONLY], ["on_another_thread", "close"]) == [0, 1]


def test_a_lab_for_clients_without_a_thread_for_opens_lets_every_thread_open(lab: Any, disk: bytes) -> None:
    with (lab.vddk / "lab.conf").open("a") as conf:
        conf.write("open_from_any_thread=1\n")
    assert lab.remote(["on_another_thread", "open", DISK, READ_ONLY], ["on_another_thread", "close"]) == [0, 0]


def test_a_query_past_the_end_is_an_invalid_argument(lab: Any, disk: bytes) -> None:
    whole = len(disk) // 512 // 128 * 128
    results = lab.remote(
        ["open", DISK, READ_ONLY], ["query", 0, whole, 128], ["query", 0, whole + 128, 128], ["query", whole, 128, 128]
    )
    assert isinstance(results[1], list)
    assert results[2:] == [3, 3]


def test_a_file_that_was_cut_off_is_an_error_and_no_hole(lab: Any, disk: bytes) -> None:
    flat = lab.store.path("[ds] vm/vm-flat.vmdk")

    with lab.pause(lambda: os.truncate(flat, 4 << 20)) as cut:
        opened, _, queried, read = lab.remote(
            ["open", DISK, READ_ONLY], cut, ["query", 0, 16384, 128], ["read", 10000, 8]
        )
    assert (opened, queried, read) == (0, 16002, 16002)
    assert lab.remote(["open", DISK, READ_ONLY]) == [16000]


@pytest.mark.parametrize(("folder", "code"), [("tmp", 0), ("t m p", 4), ("none", 4)])
def test_a_blank_cuts_the_state_folder_off(lab: Any, tmp_path: Path, folder: str, code: int) -> None:
    for name in ("tmp", "t m p"):
        (tmp_path / name).mkdir()
    config = tmp_path / "vddk.conf"
    config.write_text(f"tmpDirectory={tmp_path / folder}\n")
    assert lab.run(["init", 6, 5, None, str(config)])[0] == code


def test_a_missing_file_is_4_and_a_file_that_is_no_disk_9(lab: Any, disk: bytes) -> None:
    lab.store.path("[ds] vm/notes.vmdk").write_bytes(b"hello" * 1000)
    assert lab.remote(["open", "[ds] vm/none.vmdk", 4], ["open", "[ds] vm/notes.vmdk", 4], ["open", "rubbish", 4]) == [
        4,
        9,
        22,
    ]


def test_a_child_of_a_changed_base_is_16008(lab: Any, disk: bytes) -> None:
    lab.store.create_child(DISK, "[ds] vm/vm-000001.vmdk")
    sector = base64.b64encode(bytes(512)).decode()
    opened, written, closed = lab.remote(["open", DISK, 0], ["write", 0, sector], ["close"], read_only=False)
    assert (opened, written, closed) == (0, 0, 0)
    assert lab.remote(["open", "[ds] vm/vm-000001.vmdk", READ_ONLY]) == [16008]


def test_a_read_only_handle_refuses_writes(lab: Any, disk: bytes) -> None:
    sector = base64.b64encode(bytes(512)).decode()
    by_flag = lab.remote(
        ["open", DISK, READ_ONLY], ["write", 0, sector], ["write_many", [[0, sector]]], read_only=False
    )
    by_connection = lab.remote(["open", DISK, 0], ["write", 0, sector], read_only=True)
    assert by_flag == [0, 11, [11]]
    assert by_connection == [0, 11]


def test_a_disk_open_for_writing_elsewhere_is_15(lab: Any, disk: bytes) -> None:
    with lab.store.open(DISK, writable=True):
        assert lab.remote(["open", DISK, 0], read_only=False) == [15]


def test_more_sessions_than_a_host_has_memory_for_are_2_and_closing_makes_room(lab: Any, disk: bytes) -> None:
    opens = [["open", DISK, READ_ONLY, f"disk{i}"] for i in range(4)]
    with lab.pause(lambda: eventually(lambda: len(lab.nfc.sessions()) < 3)) as freed:
        results = lab.remote(*opens, ["close", "disk0"], freed, ["open", DISK, READ_ONLY, "again"])
    assert results == [0, 0, 0, 2, 0, None, 0]


def test_a_transport_that_does_not_reach_the_disk_is_refused(lab: Any, disk: bytes) -> None:
    assert lab.remote(["open", DISK, READ_ONLY], transports="san") == [13]
    lab.authority.metadata = {"transport": "san:nbdssl"}
    assert lab.remote(["open", DISK, READ_ONLY], ["transport"], transports="hotadd:san") == [0, "san"]


@pytest.mark.parametrize(
    ("transports", "grant", "code"),
    [
        ("hotadd:nbdssl", {}, 13),
        ("san:nbdssl", {}, 13),
        ("nbdssl:san", {}, 0),
        ("hotadd", {"has_snapshot": True}, 0),
        ("hotadd", {"has_snapshot": True, "tracked": True, "redo_log": True}, 0),
        ("san", {"has_snapshot": True}, 0),
        ("san", {"has_snapshot": True, "tracked": True}, 13),
        ("san", {"has_snapshot": True, "redo_log": True}, 13),
        ("san", {"has_snapshot": True, "older_snapshots": True}, 13),
        ("san", {"has_snapshot": True, "thin": True}, 13),
    ],
)
def test_san_and_hotadd_write_under_a_snapshot_only(
    lab: Any, disk: bytes, transports: str, grant: dict[str, bool], code: int
) -> None:
    lab.authority.metadata = {"transport": "hotadd:san:nbdssl"}
    lab.authority.granted = grant
    assert lab.remote(["open", DISK, 0], read_only=False, transports=transports) == [code]
    assert lab.remote(["open", DISK, READ_ONLY], transports=transports) == [0]


def test_a_service_that_is_gone_refuses_the_connection(lab: Any, disk: bytes) -> None:
    lab.nfc.stop()
    assert lab.connect() == 14009


def test_calls_before_init_and_with_rubbish_are_errors_not_crashes(lab: Any) -> None:
    assert lab.run(["connect", {}, True, None, None])[0] == 16001
    results = lab.run(["init"], ["connect", lab.params(server=None), True, None, None], ["open", DISK, 4], ["text", 13])
    assert results[1:3] == [3, 16054]
    assert "access" in results[3]


def test_several_compression_bits_at_once_are_an_invalid_argument(lab: Any, disk: bytes) -> None:
    assert lab.remote(
        ["open", DISK, 4 | 16], ["open", DISK, 4 | 1 | 32, "fastlz"], ["open", DISK, 4 | 16 | 32, "two"]
    ) == [0, 0, 3]


@pytest.mark.parametrize(
    ("size", "count", "code"), [(16, 4, 0), (16, 16, 0), (16, 17, 2), ("99999999999999999999", 4, 2)]
)
def test_nfc_buffers_above_sixteen_mebibytes_make_opens_fail(
    lab: Any, disk: bytes, tmp_path: Path, size: Any, count: int, code: int
) -> None:
    config = tmp_path / "vddk.conf"
    session = "vixDiskLib.nfcAio.Session"
    config.write_text(f"tmpDirectory=/tmp\n{session}.BufSizeIn64KB={size}\n{session}.BufCount = {count}\n")
    connect = ["connect", lab.params(), True, "s", None]
    assert lab.run(["init", 6, 5, None, str(config)], connect, ["open", DISK, READ_ONLY], ["exit"])[2] == code


def test_a_planted_fault_lets_the_first_bytes_pass_and_is_used_up(lab: Any, disk: bytes) -> None:
    lab.nfc.inject(NfcFault(code=14009, on="read", after_bytes=2 * 65536, count=2))
    _, *reads = lab.remote(["open", DISK, READ_ONLY], *[["read", 0, 128]] * 6)
    assert [result if isinstance(result, int) else 0 for result in reads] == [0, 0, 14009, 14009, 0, 0]


def test_a_fault_at_open_or_on_another_disk_only(lab: Any, disk: bytes) -> None:
    lab.nfc.inject(NfcFault(code=14015, on="open", count=1))
    lab.nfc.inject(NfcFault(code=16002, on="io", disk="other.vmdk", count=None))
    first, second, read = lab.remote(
        ["open", DISK, READ_ONLY, "a"], ["open", DISK, READ_ONLY, "b"], ["read", 0, 8, "b"]
    )
    assert (first, second) == (14015, 0)
    assert isinstance(read, str)


def test_a_fault_reaches_handles_that_are_open_already_and_asynchronous_reads(lab: Any, disk: bytes) -> None:
    with lab.pause(lambda: lab.nfc.inject(NfcFault(code=2, after_requests=1, count=None))) as planted:
        _, _, many, _ = lab.remote(["open", DISK, READ_ONLY], planted, ["read_many", 8, 128], ["close"])
    assert sorted(many["results"]) == [0] + [2] * 7


def test_a_machine_without_scsi_disks_or_mounts_crashes_a_library_that_has_the_plugin(lab: Any) -> None:
    needed = [Path("/sys/class/scsi_disk"), Path("/etc/mtab")]
    expected = 0 if all(path.exists() for path in needed) else -signal.SIGABRT
    for plugin, status in ((False, 0), (True, expected)):
        if plugin:
            (lab.vddk / "lib64" / "libdiskLibPlugin.so").touch()
        steps = json.dumps([["init", 6, 5, str(lab.vddk)]])
        done = subprocess.run(lab.command(), input=steps, capture_output=True, text=True, check=False)
        assert done.returncode == status


def test_a_hang_ends_when_faults_are_cleared(lab: Any, disk: bytes) -> None:
    lab.nfc.inject(NfcFault(hang_seconds=30, count=None))
    timer = threading.Timer(1.5, lab.nfc.clear_faults)
    timer.start()
    _, read = lab.remote(["open", DISK, READ_ONLY], ["read", 0, 8])
    assert timer.finished.is_set(), "it hung no longer than until the faults were cleared"
    timer.join()
    assert isinstance(read, str)


def test_a_dropped_session_is_a_lost_connection_from_then_on(lab: Any, disk: bytes) -> None:
    with lab.pause(lambda: lab.nfc.drop_sessions("vm.vmdk")) as dropped:
        results = lab.remote(["open", DISK, READ_ONLY], dropped, ["read", 0, 8], ["read", 0, 8], ["close"])
    assert results == [0, None, 14011, 14011, 0]


def test_access_outlives_the_process_and_ends_with_its_identity_only(lab: Any) -> None:
    assert lab.run(["init"], ["prepare", lab.params(), "vmkeep"], ["exit"])[1] == 0
    assert lab.authority.held == [("moref=vm-1", "vmkeep")]
    again = lab.run(
        ["init"], ["prepare", lab.params(), "vmkeep"], ["end", lab.params(), "other"], ["end", lab.params(), "vmkeep"],
        ["end", lab.params(), "vmkeep"], ["exit"],
    )  # fmt: skip
    assert again[1:5] == [5, 1, 0, 1]
    assert lab.authority.held == []


@pytest.mark.parametrize(
    ("identity", "code"), [("x" * 50, 0), ("x" * 51, 3), ("é" * 26, 3), ("", 3)], ids=["50", "51", "bytes", "none"]
)
def test_an_identity_has_one_to_fifty_bytes(lab: Any, identity: str, code: int) -> None:
    assert lab.run(["init"], ["prepare", lab.params(), identity], ["end", lab.params(), identity], ["exit"])[1:3] == [
        code,
        code,
    ]


@pytest.mark.parametrize(("changed", "code"), [({"second": "wrong"}, 35), ({"thumbprint": "aa"}, 1)])
def test_access_needs_a_login(lab: Any, changed: dict[str, Any], code: int) -> None:
    params = lab.params(**changed)
    assert lab.run(["init"], ["prepare", params, "vmkeep"], ["end", params, "vmkeep"], ["exit"])[1:3] == [code, code]


def test_access_is_of_a_vm_and_says_so(lab: Any) -> None:
    params = lab.params(spec_type=256)
    assert lab.run(["init"], ["prepare", params, "vmkeep"], ["end", params, "vmkeep"], ["exit"])[1:3] == [3, 3]


@pytest.mark.parametrize("call", ["prepare", "end"])
def test_a_fault_planted_at_a_call_for_access_is_used_up(lab: Any, call: str) -> None:
    lab.authority.held.append(("moref=vm-1", "held"))
    lab.nfc.inject(NfcFault(code=14011, on=call, disk="vm-1"))
    steps = [[call, lab.params(), "held" if call == "end" else "new"]] * 2
    assert lab.run(["init"], *steps, ["exit"])[1:3] == [14011, 0]
