"""Writing through the stand-in, and its local connection (transport ``file``)."""

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest

MIB = 1 << 20
DISK = "[ds] vm/vm.vmdk"
READ_ONLY = 4


def packed(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_what_is_written_is_read_back_here_and_by_the_store(lab: Any, disk: bytes) -> None:
    pieces = [[at, packed(bytes([at % 251]) * 1024)] for at in range(0, 400, 2)]
    _, sync, many, flushed, read, _ = lab.remote(
        ["open", DISK, 0], ["write", 16388, packed(b"z" * 512)], ["write_many", pieces], ["flush"], ["read", 0, 400],
        ["close"], read_only=False,
    )  # fmt: skip
    assert (sync, flushed, many) == (0, 0, [0] * 200)
    expected = b"".join(base64.b64decode(data) for _, data in pieces)
    assert base64.b64decode(read) == expected
    with lab.store.open(DISK) as handle:
        assert handle.read(0, len(expected)) == expected
        assert handle.read(8 * MIB + 2048, 512) == b"z" * 512


def test_writes_through_the_library_are_tracked_exactly(lab: Any, disk: bytes) -> None:
    lab.store.enable_tracking(DISK)
    since = lab.store.info(DISK).change_id
    lab.store.create_child(DISK, "[ds] vm/vm-000001.vmdk")
    writes = [["write", 127, packed(b"a" * 1024)], ["write", 8192, packed(b"b" * 512)]]
    lab.remote(["open", "[ds] vm/vm-000001.vmdk", 0], *writes, ["close"], read_only=False)
    assert lab.store.changed_areas("[ds] vm/vm-000001.vmdk", since, 0) == [(0, 131072), (4 * MIB, 65536)]


def test_metadata_written_stays(lab: Any, disk: bytes) -> None:
    first = lab.remote(
        ["open", DISK, 0], ["set_metadata", "toolsVersion", "12352"], ["set_metadata", "adapterType", "buslogic"],
        ["set_metadata", "bad key", "x"], ["set_metadata", "a", 'quo"te'], ["write", 0, packed(b"q" * 512)], ["close"],
        read_only=False,
    )  # fmt: skip
    assert first == [0, 0, 0, 3, 3, 0, 0]
    _, info, tools, _ = lab.remote(["open", DISK, READ_ONLY], ["info"], ["metadata", "toolsVersion"], ["close"])
    assert info["adapter"] == 2
    assert tools[2] == "12352"


@pytest.mark.parametrize(("disk_type", "kind"), [(2, "monolithicFlat"), (4, "twoGbMaxExtentFlat"), (7, "vmfs")])
def test_local_disks_are_made_written_and_removed(lab: Any, tmp_path: Path, disk_type: int, kind: str) -> None:
    path = tmp_path / "local.vmdk"
    results = lab.local(
        ["create", str(path), disk_type, 5_000_000], ["create", str(path), disk_type, 5_000_000],
        ["open", str(path), 1], ["transport"], ["info"],
        ["write", 4_192_250, packed(b"w" * 8192)], ["read", 4_192_250, 16], ["close"],
    )  # fmt: skip
    assert results[:4] == [0, 12, 0, "file"]
    assert results[4]["capacity"] == 5_000_000
    assert (results[5], base64.b64decode(results[6])) == (0, b"w" * 8192)
    assert f'createType="{kind}"' in path.read_text()
    check = subprocess.run(["qemu-img", "info", str(path)], capture_output=True, text=True, check=True)
    assert "(2560000000 bytes)" in check.stdout
    assert lab.local(["unlink", str(path)]) == [0]
    assert not list(tmp_path.glob("local*"))


def test_hosted_sparse_is_not_offered_and_remote_disks_are_not_made(lab: Any, tmp_path: Path) -> None:
    assert lab.local(["create", str(tmp_path / "x.vmdk"), 1, 2048]) == [6]
    assert lab.remote(["create", "[ds] vm/new.vmdk", 2, 2048], ["unlink", DISK]) == [20, 20]


def test_a_remote_disk_is_cloned_into_a_local_one(lab: Any, disk: bytes, tmp_path: Path) -> None:
    target = tmp_path / "copy.vmdk"
    made, again, over = lab.remote(
        ["clone", DISK, str(target), 2, False],
        ["clone", DISK, str(target), 2, False],
        ["clone", DISK, str(target), 4, True],
    )
    assert (made[0], made[-1], again, over[0]) == (0, 100, [12], 0)
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(target), str(tmp_path / "raw")], check=True)
    assert (tmp_path / "raw").read_bytes() == disk
    assert lab.nfc.sessions() == []


def test_a_plain_flat_file_is_a_local_disk(lab: Any, tmp_path: Path) -> None:
    raw = tmp_path / "image.raw"
    raw.write_bytes(b"R" * (3 * 65536 + 700))
    results = lab.local(
        ["open", str(raw), 0], ["info"], ["query", 0, 384, 128], ["write", 1, packed(b"S" * 512)], ["read", 0, 2],
        ["metadata", "uuid"], ["set_metadata", "uuid", "x"], ["close"],
    )  # fmt: skip
    assert results[1]["capacity"] == 3 * 128 + 1
    assert results[2] == [[0, 384]]
    assert base64.b64decode(results[4]) == b"R" * 512 + b"S" * 512
    assert (results[5][0], results[6]) == (16052, 6)


def test_the_labs_own_chains_open_locally(lab: Any, disk: bytes) -> None:
    lab.store.create_child(DISK, "[ds] vm/vm-000001.vmdk")
    results = lab.local(
        ["open", str(lab.store.path("[ds] vm/vm-000001.vmdk")), READ_ONLY], ["read", 0, len(disk) // 512]
    )
    assert base64.b64decode(results[1]) == disk


def test_the_call_sequence_of_nbdkits_plugin_serves_a_file_whole(lab: Any, tmp_path: Path) -> None:
    """Version 6.5, local ConnectParams, a probe for extents, a query up to the end rounded up, reads four deep."""
    raw = tmp_path / "image.raw"
    sectors = 20480
    raw.write_bytes(b"".join(bytes([i % 256]) * 512 for i in range(sectors)))
    _, connected, opened, info, probe, extents, many, closed, gone, _ = lab.run(
        ["init", 6, 5, str(lab.vddk)], ["connect", {}, True, None, None], ["open", str(raw), READ_ONLY], ["info"],
        ["query", 0, 128, 128], ["query", 0, 20480, 128], ["read_many", 4, 5120], ["close"], ["disconnect"], ["exit"],
    )  # fmt: skip
    assert (connected, opened, closed, gone) == (0, 0, 0, 0)
    assert info["capacity"] == sectors
    assert probe == [[0, 128]]
    assert extents == [[0, 20480]]
    assert base64.b64decode(many["data"]) == raw.read_bytes()
