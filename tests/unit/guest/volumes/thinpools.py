"""Thin pools whose metadata the real ``thin_restore`` (Debian's thin-provisioning-tools) has written."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.nbd_parts import MemoryDisk

CHUNK = 64 << 10

Mapped = Mapping[int, int]
"""Block of the pool by block of a thin volume."""


@dataclass(frozen=True)
class MadePool:
    metadata: MemoryDisk
    data: MemoryDisk
    volumes: Mapping[int, Mapped]

    def model(self, device: int, blocks: int) -> bytes:
        """The bytes of a thin volume."""
        return b"".join(self._block(self.volumes[device].get(block)) for block in range(blocks))

    def _block(self, place: int | None) -> bytes:
        return bytes(CHUNK) if place is None else bytes(self.data.content[place * CHUNK : (place + 1) * CHUNK])


def make_metadata(folder: Path, volumes: Mapping[int, Mapped], *, blocks: int, size: int = 256 << 10) -> MemoryDisk:
    """The metadata of a pool with some volumes, in the fashion in which the device mapper keeps them."""
    xml, out = folder / "pool.xml", folder / "pool.meta"
    lines = [
        f'<superblock uuid="" time="1" transaction="3" data_block_size="{CHUNK // 512}" nr_data_blocks="{blocks}">'
    ]
    for device, mapped in volumes.items():
        lines.append(
            f'<device dev_id="{device}" mapped_blocks="{len(mapped)}" transaction="1" creation_time="0" snap_time="1">'
        )
        lines.extend(
            f'<single_mapping origin_block="{block}" data_block="{place}" time="{block % 2}"/>'
            for block, place in sorted(mapped.items())
        )
        lines.append("</device>")
    xml.write_text("\n".join([*lines, "</superblock>"]))
    out.write_bytes(bytes(size))
    done = subprocess.run(
        ["thin_restore", "-i", xml, "-o", out], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return MemoryDisk(out.read_bytes())


def make_pool(folder: Path) -> MadePool:
    """A pool of 96 blocks, and volumes in it: one scattered, its snapshot that shares most blocks, one empty."""
    rng = random.Random(13)
    places = list(range(96))
    rng.shuffle(places)
    first = {block: places.pop() for block in (*range(8), *range(20, 24), 39)}
    snapshot = {**first, 3: places.pop(), 30: places.pop()}
    straight = {block: min(places) + block for block in range(3) if all(min(places) + at in places for at in range(3))}
    volumes = {1: first, 2: snapshot, 7: {}, 9: straight}
    data = MemoryDisk(rng.randbytes(96 * CHUNK))
    return MadePool(make_metadata(folder, volumes, blocks=96), data, volumes)
