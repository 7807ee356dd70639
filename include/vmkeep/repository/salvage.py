"""What can still be read of a pack that has lost its footer: its frames, found by their own headers.

Every frame vouches for itself by its digest, so none is needed to find the next: where one is damaged, the next header
is searched for.
"""

from __future__ import annotations

from array import array

from vmkeep.blobs import BlobStore
from vmkeep.errors import CorruptError
from vmkeep.repository.digests import Kind
from vmkeep.repository.frames import HEADER_SIZE, MAGIC, Framer, parse_header
from vmkeep.repository.packcheck import MAX_RAW, pack_id_of
from vmkeep.repository.packs import MAX_FRAME, PACK_HEADER_SIZE, PackContents


def salvage_pack(store: BlobStore, framer: Framer, key: str) -> PackContents | None:
    """Return the good frames of a damaged pack, or ``None`` if there are none; reads all of it.

    :raises BlobNotFoundError: there is no such pack.
    """
    data = memoryview(store.get(key))
    box = framer.box(key)
    out = memoryview(bytearray(MAX_RAW))
    offsets, lengths, raw_lengths, digests = array("I"), array("I"), array("I"), bytearray()
    kinds = set()
    at = PACK_HEADER_SIZE
    raw = data.obj if isinstance(data.obj, bytes) else bytes(data)
    while (at := raw.find(MAGIC, at)) >= 0:
        try:
            header = parse_header(data[at:])
            if header.kind not in (Kind.BLOCK, Kind.PAGE) or header.frame_length > MAX_FRAME:
                raise CorruptError("not a frame of a pack")
            box.unpack_into(header, data[at + HEADER_SIZE : at + header.frame_length], out)
        except CorruptError:
            at += 1
            continue
        offsets.append(at)
        lengths.append(header.frame_length)
        raw_lengths.append(header.raw_length)
        digests += header.digest
        kinds.add(header.kind)
        at += header.frame_length
    if len(kinds) != 1:
        return None
    return PackContents(
        pack_id=pack_id_of(key),
        kind=kinds.pop(),
        offsets=offsets,
        lengths=lengths,
        raw_lengths=raw_lengths,
        digests=bytes(digests),
        checksum=0,
    )
