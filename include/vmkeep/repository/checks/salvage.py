"""Reads a pack that has lost its footer: finds its frames by their own headers.

Every frame proves itself by its digest, so damage to one does not hide the next: behind a damaged frame, the next
header is searched for. A guest's disk may itself hold a repository, so a damaged block may contain bytes that look like
frames. They are skipped if the header of the block is good, and always if their kind is not that of the pack.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator

from vmkeep.blobs import BlobStore
from vmkeep.errors import CorruptError
from vmkeep.repository.checks.packcheck import MAX_RAW, pack_id_of
from vmkeep.repository.frames import (
    HEADER_SIZE,
    MAGIC,
    MAX_FRAME,
    PACK_HEADER_SIZE,
    Box,
    FrameHeader,
    Framer,
    Kind,
    PackContents,
    parse_header,
    parse_pack_header,
)


def salvage_pack(store: BlobStore, framer: Framer, key: str) -> PackContents | None:
    """Return the good frames of a damaged pack, or ``None`` if there are none. Reads the whole pack.

    :raises BlobNotFoundError: there is no such pack.
    """
    raw = store.get(key)
    found = list(_good_frames(raw, framer.box(key)))
    kind = _kind_of(raw, key, found)
    frames = [(at, header) for at, header in found if header.kind is kind]
    if kind is None or not frames:
        return None
    return PackContents(
        pack_id=pack_id_of(key),
        kind=kind,
        offsets=array("I", (at for at, _ in frames)),
        lengths=array("I", (header.frame_length for _, header in frames)),
        raw_lengths=array("I", (header.raw_length for _, header in frames)),
        digests=b"".join(header.digest for _, header in frames),
        checksum=0,
    )


def _good_frames(raw: bytes, box: Box) -> Iterator[tuple[int, FrameHeader]]:
    """Yield offset and header of each frame whose content matches its digest."""
    view, out = memoryview(raw), memoryview(bytearray(MAX_RAW))
    at = PACK_HEADER_SIZE
    while (at := raw.find(MAGIC, at)) >= 0:
        try:
            header = parse_header(view[at:])
        except CorruptError:
            at += 1
            continue
        end = at + header.frame_length
        if _is_good(header, view[at + HEADER_SIZE : end], box, out):
            yield at, header
            at = end
        elif raw.startswith(MAGIC, end):
            at = end  # the header is good and the content is not: no frame of ours is inside
        else:
            at += 1


def _is_good(header: FrameHeader, payload: memoryview, box: Box, out: memoryview) -> bool:
    if header.kind not in (Kind.BLOCK, Kind.PAGE) or header.frame_length > MAX_FRAME:
        return False
    try:
        box.unpack_into(header, payload, out)
    except CorruptError:
        return False
    return True


def _kind_of(raw: bytes, key: str, found: list[tuple[int, FrameHeader]]) -> Kind | None:
    """Return the kind of a pack's frames. If the pack's header is damaged too, take the kind that most bytes have."""
    try:
        return parse_pack_header(raw, pack_id=pack_id_of(key))
    except CorruptError:
        sizes = Counter[Kind]()
        for _, header in found:
            sizes[header.kind] += header.frame_length
        return max(sizes, key=lambda kind: sizes[kind], default=None)
