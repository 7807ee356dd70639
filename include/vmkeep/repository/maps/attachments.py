"""Stores small files with a restore point in the same way as disks: as blocks below a map."""

from __future__ import annotations

from vmkeep.errors import CorruptError
from vmkeep.repository.blocks import BlockReader, BlockWriter, ReadBuffers, Wanted
from vmkeep.repository.frames import ZERO, Digester, Kind
from vmkeep.repository.maps.mapbuilder import MapBuilder
from vmkeep.repository.maps.maps import DiskMap

_LARGEST = 256 << 20
"""Largest file, in bytes."""


def write_content(builder: MapBuilder, writer: BlockWriter, digester: Digester, data: bytes) -> str:
    """Add a file's blocks and map to a writer; return the map's root."""
    size = builder.shape.block_size
    for block in range(builder.shape.blocks):
        raw = memoryview(data)[block * size : (block + 1) * size]
        if not any(raw):
            continue
        digest = digester.of(Kind.BLOCK, raw)
        writer.add(Kind.BLOCK, digest, raw)
        builder.set(block, [digest])
    return builder.store()


def read_content(opened: DiskMap, reader: BlockReader) -> bytes:
    """Return a file's bytes.

    :raises CorruptError: the file is damaged, or claims to be far larger than any attachment is.
    """
    if opened.capacity > _LARGEST:
        raise CorruptError(f"claims to have {opened.capacity} bytes")
    out = bytearray(opened.capacity)
    wanted = [
        Wanted(digest, reader.locate(Kind.BLOCK, digest), opened.shape.block_length(block), (block,))
        for block, digest in opened.blocks()
        if digest != ZERO
    ]
    scratch = ReadBuffers()
    for batch in reader.plan(wanted):
        for frame, content in reader.read(batch, scratch):
            at = frame.places[0] * opened.block_size
            out[at : at + len(content)] = content
    return bytes(out)
