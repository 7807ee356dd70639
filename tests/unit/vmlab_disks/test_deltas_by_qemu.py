"""The sparse deltas read by a program that is not ours: qemu-img."""

import hashlib
import json
import random
import subprocess
from pathlib import Path

import pytest

from vmlab.disks import DiskStore

MIB = 1 << 20


def qemu_img(*arguments: str) -> str:
    return subprocess.run(["qemu-img", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "datastores")


def scatter(store: DiskStore, ds_path: str, seed: int) -> None:
    choose = random.Random(seed)
    with store.open(ds_path, writable=True) as disk:
        for _ in range(15):
            length = choose.choice([1, 511, 512, 513, 4096, 70_000, 3 * MIB])
            offset = choose.randrange(disk.capacity - length)
            disk.write(offset, choose.randbytes(length))


def test_qemu_reads_a_chain_of_three_links_as_we_do(store: DiskStore, tmp_path: Path) -> None:
    names = ["[ds] vm/a.vmdk", "[ds] vm/a-000001.vmdk", "[ds] vm/a-000002.vmdk"]
    store.create(names[0], 19 * MIB + 512)
    scatter(store, names[0], 0)
    for number in (1, 2):
        store.create_child(names[number - 1], names[number])
        scatter(store, names[number], number)
    qemu_img("convert", "-O", "raw", str(store.path(names[2])), str(tmp_path / "out.raw"))
    with store.open(names[2]) as disk:
        ours = hashlib.sha256(disk.read(0, disk.capacity)).hexdigest()
        assert disk.links == 3
    assert hashlib.sha256((tmp_path / "out.raw").read_bytes()).hexdigest() == ours


def test_qemu_finds_the_consolidated_disk_equal_to_the_chain(store: DiskStore, tmp_path: Path) -> None:
    base, child = "[ds] vm/a.vmdk", "[ds] vm/a-000001.vmdk"
    store.create(base, 16 * MIB)
    scatter(store, base, 3)
    store.create_child(base, child)
    scatter(store, child, 4)
    before = tmp_path / "before.raw"
    qemu_img("convert", "-O", "raw", str(store.path(child)), str(before))
    store.consolidate(child)
    assert "identical" in qemu_img("compare", "-f", "raw", "-F", "vmdk", str(before), str(store.path(base)))


def test_qemu_names_the_parent_and_the_kind_of_a_delta(store: DiskStore) -> None:
    store.create("[ds] vm/a.vmdk", MIB)
    store.create_child("[ds] vm/a.vmdk", "[ds] vm/a-000001.vmdk")
    info = json.loads(qemu_img("info", "--output=json", str(store.path("[ds] vm/a-000001.vmdk"))))
    assert info["virtual-size"] == MIB
    assert info["backing-filename"] == "a.vmdk"
    assert info["format-specific"]["data"]["create-type"] == "vmfsSparse"


def test_a_flat_vmdk_of_qemu_in_two_gigabyte_pieces_is_read(store: DiskStore) -> None:
    folder = store.path("[ds] q/q.vmdk").parent
    folder.mkdir(parents=True)
    qemu_img("create", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentFlat", str(folder / "q.vmdk"), "5G")
    with store.open("[ds] q/q.vmdk", writable=True) as disk:
        assert disk.capacity == 5 << 30
        seam = 4192256 * 512
        disk.write(seam - 700, b"x" * 1400)
        assert disk.read(seam - 701, 1402) == b"\0" + b"x" * 1400 + b"\0"
        assert disk.allocated()[0][0] <= seam - 700
    listed = json.loads(qemu_img("map", "--output=json", str(folder / "q.vmdk")))
    assert sum(part["length"] for part in listed if part["data"]) >= 1400
