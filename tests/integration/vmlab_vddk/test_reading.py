"""Reading a lab disk through the stand-in, as VDDK's callers do."""

import base64
import ctypes
import json
import random
import subprocess
from typing import Any

import pytest

from tests.patience import eventually

MIB = 1 << 20
DISK = "[ds] vm/vm.vmdk"
READ_ONLY = 4

NBDKIT_NEEDS = [
    "AllocateConnectParams",
    "Close",
    "ConnectEx",
    "Create",
    "Disconnect",
    "Exit",
    "Flush",
    "FreeBlockList",
    "FreeConnectParams",
    "FreeErrorText",
    "FreeInfo",
    "GetErrorText",
    "GetInfo",
    "GetTransportMode",
    "InitEx",
    "ListTransportModes",
    "Open",
    "QueryAllocatedBlocks",
    "Read",
    "ReadAsync",
    "Wait",
    "Write",
    "WriteAsync",
]


def bytes_of(result: Any) -> bytes:
    return base64.b64decode(result)


def test_the_library_lies_where_vddk_lays_it(lab: Any) -> None:
    assert lab.library.resolve().name == "libvixDiskLib.so.8.0.3"
    assert (lab.vddk / "lib64" / "libvixDiskLib.so").resolve() == lab.library.resolve()
    headers = subprocess.run(["readelf", "-d", str(lab.library)], capture_output=True, text=True, check=True).stdout
    assert "Library soname: [libvixDiskLib.so.8]" in headers
    assert "SYMBOLIC" in headers


def test_every_symbol_that_nbdkit_needs_is_there_and_nothing_else_is_seen(lab: Any) -> None:
    library = ctypes.CDLL(str(lab.library))
    assert [name for name in NBDKIT_NEEDS if not hasattr(library, f"VixDiskLib_{name}")] == []
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", str(lab.library)], capture_output=True, text=True, check=True
    )
    names = [line.split()[-1] for line in listed.stdout.splitlines()]
    assert all(name.startswith("VixDiskLib_") for name in names)


def test_synchronous_and_asynchronous_reads_give_the_same_bytes(lab: Any, disk: bytes) -> None:
    opened, whole, many, closed = lab.remote(
        ["open", DISK, READ_ONLY], ["read", 0, len(disk) // 512], ["read_many", 16, 1024], ["close"]
    )
    assert (opened, closed) == (0, 0)
    assert bytes_of(whole) == disk
    assert (many["accepted"], many["waited"], many["results"]) == ([25000], 0, [0] * 16)
    assert bytes_of(many["data"]) == disk[: 8 * MIB]
    assert not many["on_caller"]


def test_a_chain_reads_through_the_library_as_through_the_store(lab: Any, disk: bytes) -> None:
    lab.store.create_child(DISK, "[ds] vm/vm-000001.vmdk")
    with lab.store.open("[ds] vm/vm-000001.vmdk", writable=True) as handle:
        handle.write(MIB - 100, b"delta" * 100)
        expected = handle.read(0, handle.capacity)
    results = lab.remote(
        ["open", "[ds] vm/vm-000001.vmdk", READ_ONLY], ["info"], ["read", 0, len(disk) // 512],
        ["query", 0, 16384, 128], ["open", "[ds] vm/vm-000001.vmdk", READ_ONLY | 2, "link"], ["info", "link"],
        ["read", 2048, 8, "link"], ["close"], ["close", "link"],
    )  # fmt: skip
    assert results[1]["links"] == 2
    assert bytes_of(results[2]) == expected
    assert results[3] == [[1920, 2176]]
    assert results[5]["links"] == 1
    assert bytes_of(results[6])[:400] == expected[MIB : MIB + 400]


def test_info_tells_capacity_uuid_adapter_and_sector_size(lab: Any, disk: bytes) -> None:
    _, info, transport, modes, _ = lab.remote(
        ["open", DISK, READ_ONLY], ["info"], ["transport"], ["modes"], ["close"], transports="nbd"
    )
    assert info == {
        "capacity": len(disk) // 512,
        "adapter": 3,
        "links": 1,
        "logical_sector": 512,
        "uuid": "60 00 C2 90 11 11 22 22-33 33 44 44 55 55 66 66",
    }
    assert transport == "nbd"
    assert "nbdssl" in modes.split(":")


def test_reading_past_the_end_is_16007_also_asynchronously(lab: Any, disk: bytes) -> None:
    sectors = len(disk) // 512
    results = lab.remote(
        ["open", DISK, READ_ONLY], ["read", sectors, 1], ["read", sectors - 1, 2], ["read", 2**63, 2**10],
        ["read_many", 2, sectors], ["close"],
    )  # fmt: skip
    assert results[1:4] == [16007, 16007, 16007]
    assert results[4]["accepted"] == [16007, 25000]
    assert results[4]["results"] == [0, None]


def test_allocated_blocks_are_asked_in_whole_chunks_of_the_disk(lab: Any, disk: bytes) -> None:
    _, aligned, *refused, _ = lab.remote(
        ["open", DISK, READ_ONLY], ["query", 0, 16384, 128], ["query", 0, 16512, 128], ["query", 1, 128, 128],
        ["query", 0, 100, 128], ["query", 0, 64, 64], ["query", 0, 0, 128], ["query", 16512, 128, 128], ["close"],
    )  # fmt: skip
    assert aligned == [[2048, 2048]]
    assert refused == [3] * 6


def test_a_disk_under_one_chunk_has_nothing_to_ask_about(lab: Any) -> None:
    lab.store.create("[ds] vm/tiny.vmdk", 5 * 512)
    assert lab.remote(["open", "[ds] vm/tiny.vmdk", READ_ONLY], ["query", 0, 128, 128], ["close"])[1] == 3


def test_with_latency_depth_pays(lab: Any, disk: bytes) -> None:
    lab.authority.latency = 0.02
    _, many, _ = lab.remote(["open", DISK, READ_ONLY], ["read_many", 32, 128], ["close"])
    assert many["results"] == [0] * 32
    assert 0.04 <= many["seconds"] < 0.3, "32 requests, 16 at a time, 20 ms each"


def test_no_thread_of_the_library_is_left_after_exit_even_if_a_disk_was_left_open(lab: Any, disk: bytes) -> None:
    results = lab.run(
        ["init"], ["connect", lab.params(), True, "snapshot-1", "nbdssl"], ["threads"], ["open", DISK, READ_ONLY],
        ["read_many", 8, 128], ["threads"], ["exit"], ["threads"],
    )  # fmt: skip
    assert results[5] > results[2]
    assert results[7] == results[2]


def test_metadata_is_the_disk_database_and_what_the_host_adds(lab: Any, disk: bytes) -> None:
    lab.authority.metadata = {"host.build": "lab"}
    _, keys, adapter, small, sized, missing, added, refused, _ = lab.remote(
        ["open", DISK, READ_ONLY], ["keys"], ["metadata", "adapterType"], ["metadata", "adapterType", 3],
        ["metadata", "adapterType", 0], ["metadata", "nonsense"], ["metadata", "host.build"],
        ["set_metadata", "toolsVersion", "1"], ["close"],
    )  # fmt: skip
    assert {"adapterType", "uuid", "virtualHWVersion", "geometry.heads", "host.build"} <= set(keys)
    assert adapter == [0, 9, "lsilogic"]
    assert small[:2] == sized[:2] == [24, 9]
    assert missing[0] == 16052
    assert added[2] == "lab"
    assert refused == 11


def test_connection_parameters_can_be_read_back(lab: Any) -> None:
    params = lab.params(cred_type=2, first="session-1", second="root", third="key")
    found = lab.run(["init"], ["connect", params, True, None, None], ["connect_params"], ["disconnect"], ["exit"])[2]
    assert found == {
        "vmx_spec": "moref=vm-1",
        "server": "vcenter.lab",
        "first": "session-1",
        "second": "root",
        "third": "key",
        "cred_type": 2,
    }


def test_a_session_cookie_opens_too_and_the_authority_hears_all_of_it(lab: Any, disk: bytes) -> None:
    credentials = {"cred_type": 2, "first": "session-1", "second": "root", "third": "key"}
    assert lab.remote(["open", DISK, READ_ONLY], ["close"], transports="san:nbdssl", **credentials) == [0, 0]
    assert lab.authority.asked == [
        {
            "user": "root",
            "password": "key",
            "cookie": "session-1",
            "vmx_spec": "moref=vm-1",
            "snapshot_ref": "snapshot-1",
            "path": DISK,
            "read_only": True,
            "transports": "san:nbdssl",
        }
    ]


@pytest.mark.parametrize(("major", "code"), [(5, 6), (6, 0), (7, 0), (8, 0), (9, 0)])
def test_every_version_from_six_on_is_accepted(lab: Any, major: int, code: int) -> None:
    assert lab.run(["init", major, 0])[0] == code


def test_log_callbacks_get_a_va_list(lab: Any, disk: bytes) -> None:
    text = lab.run(
        ["init", 6, 5], ["connect", lab.params(), True, None, None], ["open", DISK, READ_ONLY], ["log_text"], ["exit"]
    )[3]
    assert "asked for 6.5" in text
    assert DISK in text


def test_lab_conf_is_found_through_lib_dir_or_beside_the_library(lab: Any, disk: bytes, tmp_path: Any) -> None:
    conf = lab.vddk / "lab.conf"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    conf.rename(elsewhere / "lab.conf")
    connect = ["connect", lab.params(), True, None, None]
    assert lab.run(["init", 6, 5, str(elsewhere)], connect, ["open", DISK, READ_ONLY], ["exit"])[2] == 0
    assert lab.run(["init", 6, 5], connect, ["exit"])[1] == 18000


def test_a_killed_client_frees_its_session(lab: Any, disk: bytes) -> None:
    steps = [
        ["init"],
        ["connect", lab.params(), True, "s", None],
        ["open", DISK, READ_ONLY],
        ["say", "up"],
        ["sleep", 60],
    ]
    process = subprocess.Popen(lab.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    with process:
        process.stdin.write(json.dumps(steps))
        process.stdin.close()
        assert json.loads(process.stdout.readline()) == "up"
        assert [session.ds_path for session in lab.nfc.sessions()] == [DISK]
        process.kill()
        process.stdout.close()
    eventually(lambda: not lab.nfc.sessions())


def test_allocated_blocks_of_a_chain_are_those_the_store_finds_at_any_chunk_and_range(lab: Any, disk: bytes) -> None:
    child = "[ds] vm/vm-000001.vmdk"
    lab.store.create_child(DISK, child)
    choose = random.Random(11)
    with lab.store.open(child, writable=True) as handle:
        for _ in range(12):
            handle.write(choose.randrange(8 * MIB - 5000), choose.randbytes(choose.randrange(1, 5000)))
        sectors = {s for at, n in handle.allocated(512) for s in range(at // 512, (at + n) // 512)}
    capacity = len(disk) // 512
    queries, expected = [], []
    for _ in range(60):
        chunk = choose.choice([128, 129, 200, 1024, 4096])
        first = choose.randrange(capacity // chunk)
        chunks = choose.randint(1, min(40, capacity // chunk - first))
        queries.append(["query", first * chunk, chunks * chunk, chunk])
        hit = {s // chunk for s in sectors}
        runs: list[list[int]] = []
        for number in range(first, first + chunks):
            if number not in hit:
                continue
            if runs and sum(runs[-1]) == number * chunk:
                runs[-1][1] += chunk
            else:
                runs.append([number * chunk, chunk])
        expected.append(runs)
    assert lab.remote(["open", child, READ_ONLY], *queries, ["close"])[1:-1] == expected
