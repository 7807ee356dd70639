"""Disk contents of the demo: real images kept compressed in the package, and a data disk made on the spot.

Deterministic: the same size gives the same bytes on every machine.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import BinaryIO, cast

import numpy as np
import zstandard

from vmlab.disks import DiskStore

SEGMENT = 4 << 20
ALLOCATED_EVERY = 5
"""One segment in this many holds data; the others are holes."""


@contextmanager
def open_image(name: str) -> Iterator[tuple[BinaryIO, int]]:
    """Yield a shipped image as a stream, and its size: `ia` and `ib` are the two halves of a Linux volume group.

    No raw file is written, because almost all of an image is zeros and its disk keeps none of them.
    """
    packed = (resources.files("vmlab.inventory") / "fixtures" / f"{name}.raw.zst").read_bytes()
    size = zstandard.get_frame_parameters(packed).content_size
    with zstandard.ZstdDecompressor().stream_reader(packed) as stream:
        yield cast("BinaryIO", stream), size


def write_data_disk(store: DiskStore, path: str) -> int:
    """Fill a fresh disk with text, noise, repeated noise and holes; returns the bytes written."""
    text = _text()
    rng = np.random.default_rng(20240229)
    repeated = rng.bytes(SEGMENT)
    written = 0
    with store.open(path, writable=True) as disk:
        for number, start in enumerate(range(0, disk.capacity, SEGMENT * ALLOCATED_EVERY)):
            kind = number % 10
            if kind < 5:
                data = text.replace(b"00000000", b"%08d" % number)
            else:
                data = rng.bytes(SEGMENT) if kind < 9 else repeated
            length = min(len(data), disk.capacity - start)
            disk.write(start, data[:length])
            written += length
    return written


def _text() -> bytes:
    lines = []
    size = index = 0
    while size < SEGMENT:
        line = b"2024-02-29T%02d:%02d:%02dZ app01 orders[00000000]: id=%d customer=%d state=%s total=%d.%02d\n" % (
            index // 3600 % 24, index // 60 % 60, index % 60, index * 7919 % 999983, index * 31 % 4099,
            (b"paid", b"open", b"sent", b"void")[index * 13 % 4], index * 17 % 900, index % 100,
        )  # fmt: skip
        lines.append(line)
        size += len(line)
        index += 1
    return b"".join(lines)[:SEGMENT]
