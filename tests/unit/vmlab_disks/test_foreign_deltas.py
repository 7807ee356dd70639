"""Sparse deltas laid out by others: larger grains, tables made on demand and in any order."""

import random
import struct
import subprocess
from pathlib import Path

import pytest

from vmlab.disks import DiskError, DiskStore

SECTOR = 512
ENTRIES = 4096
DESCRIPTOR = """# Disk DescriptorFile
version=1
CID=12345678
parentCID={parent}
createType="vmfsSparse"
parentFileNameHint="a.vmdk"
RW {sectors} VMFSSPARSE "f-delta.vmdk"
"""


def delta(sectors: int, grain: int, grains: dict[int, bytes]) -> bytes:
    """Lay a COWD file out: grains (by number) in random order, tables between them."""
    span = ENTRIES * grain
    directory = [0] * -(-sectors // span)
    directory_sectors = -(-len(directory) * 4 // SECTOR)
    body = bytearray((4 + directory_sectors) * SECTOR)
    tables: dict[int, list[int]] = {}
    placed: dict[int, int] = {}
    for number in random.Random(1).sample(sorted(grains), len(grains)):
        index = number // ENTRIES
        if index not in tables:
            tables[index] = [0] * ENTRIES
            directory[index] = len(body) // SECTOR
            body += bytes(ENTRIES * 4)
        placed[number] = tables[index][number % ENTRIES] = len(body) // SECTOR
        body += grains[number].ljust(grain * SECTOR, b"\0")
    header = struct.pack("<4s7I", b"COWD", 1, 3, sectors, grain, 4, len(directory), len(body) // SECTOR)
    body[: len(header)] = header
    struct.pack_into(f"<{len(directory)}I", body, 4 * SECTOR, *directory)
    for index, table in tables.items():
        struct.pack_into(f"<{ENTRIES}I", body, directory[index] * SECTOR, *table)
    return bytes(body)


@pytest.mark.parametrize("grain", [1, 8, 128])
def test_a_foreign_delta_reads_as_qemu_reads_it_and_is_never_written(tmp_path: Path, grain: int) -> None:
    store = DiskStore(tmp_path)
    sectors = 40_000
    base = store.create("[ds] a.vmdk", sectors * SECTOR)
    with store.open("[ds] a.vmdk", writable=True) as disk:
        disk.write(0, b"base" * 1_000_000)
    base = store.info("[ds] a.vmdk")
    choose = random.Random(grain)
    grains = {choose.randrange(sectors // grain): choose.randbytes(grain * SECTOR) for _ in range(50)}
    folder = store.root / "ds"
    (folder / "f-delta.vmdk").write_bytes(delta(sectors, grain, grains))
    (folder / "f.vmdk").write_text(DESCRIPTOR.format(parent=base.content_id, sectors=sectors))
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(folder / "f.vmdk"), str(tmp_path / "out")], check=True)
    with store.open("[ds] f.vmdk") as disk:
        assert disk.read(0, disk.capacity) == (tmp_path / "out").read_bytes()
        covered = {block for at, n in disk.allocated() for block in range(at // 65536, -(-(at + n) // 65536))}
        assert covered >= {number * grain // 128 for number in grains}
    if len({number // ENTRIES for number in grains}) < -(-sectors // (ENTRIES * grain)) or grain > 1:
        with pytest.raises(DiskError) as caught:
            store.open("[ds] f.vmdk", writable=True)
        assert caught.value.code == 6
