"""Reading packs by themselves, without an index: their footers, and every frame in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import xxhash

from vmkeep.blobs import BlobStore
from vmkeep.errors import CorruptError
from vmkeep.repository.blocks import ReadBuffers
from vmkeep.repository.frames import (
    HEADER_SIZE,
    ID_SIZE,
    PACK_HEADER_SIZE,
    TRAILER_SIZE,
    Box,
    Framer,
    Kind,
    PackContents,
    parse_footer,
    parse_header,
    parse_pack_header,
    parse_trailer,
)

_READ = 4 << 20
_TAIL = 32 << 10
"""Bytes at a pack's end that are sure to hold its footer, unless its frames are very small."""
_MAX_FOOTER = 1 << 20
MAX_RAW = 4 << 20
"""Largest content of a frame in a pack: the largest block."""


def pack_id_of(key: str) -> bytes:
    """Return the id in a pack's blob key.

    :raises CorruptError: the key is not that of a pack.
    """
    try:
        pack_id = bytes.fromhex(key.rpartition("/")[2])
    except ValueError:
        pack_id = b""
    if len(pack_id) != ID_SIZE:
        raise CorruptError("not the name of a pack: if somebody else put this file there, move it away")
    return pack_id


def is_pack(key: str) -> bool:
    """Return whether a blob below ``packs/`` has the name of a pack. Other blobs there are not ours."""
    try:
        pack_id_of(key)
    except CorruptError:
        return False
    return True


def read_contents(store: BlobStore, framer: Framer, key: str, size: int) -> PackContents:
    """Read header, trailer and footer of a pack: usually in two requests, for a small pack in one.

    :raises CorruptError: the pack is damaged or cut off, or its name is that of another pack.
    """
    return read_ends(store, framer, key, size)[0]


def read_ends(store: BlobStore, framer: Framer, key: str, size: int) -> tuple[PackContents, bytes]:
    """Do as :func:`read_contents`; return also the bytes that were read at the pack's end: all of a small pack."""
    pack_id = pack_id_of(key)
    tail_at = max(0, size - _TAIL)
    tail = store.get_range(key, tail_at, _TAIL)
    head = store.get_range(key, 0, PACK_HEADER_SIZE) if tail_at else tail[:PACK_HEADER_SIZE]
    kind = parse_pack_header(head, pack_id=pack_id)
    trailer = parse_trailer(tail[max(0, size - TRAILER_SIZE) - tail_at :], pack_size=size)
    if trailer.footer_length > _MAX_FOOTER:
        raise CorruptError("pack's footer is larger than any can be")
    if trailer.footer_at >= tail_at:
        footer = tail[trailer.footer_at - tail_at :][: trailer.footer_length]
    else:
        footer = store.get_range(key, trailer.footer_at, trailer.footer_length)
    content = framer.unwrap(Kind.FOOTER, footer, name=key)
    if framer.digester.of(Kind.FOOTER, content) != trailer.digest:
        raise CorruptError("pack's trailer does not match its footer")
    contents = parse_footer(content, kind=kind, end=trailer.footer_at)
    if contents.pack_id != pack_id:
        raise CorruptError(f"footer is that of pack {contents.pack_id.hex()}")
    return contents, tail


def good_frames(
    framer: Framer, key: str, contents: PackContents, start: int, stored: bytes
) -> Iterator[tuple[int, bytes]]:
    """Yield offset and content of each frame of a pack that is what the footer says.

    :param start: position in the pack of the first byte of ``stored``, which reaches as far as the last frame.
    """
    scratch, box, view = ReadBuffers(), framer.box(key), memoryview(stored)
    for row in range(contents.count):
        at = int(contents.offsets[row])
        if _judge(box, contents, row, view[at - start : _end(contents, row) - start], scratch) is None:
            yield at, bytes(scratch.take(1, 0)[: int(contents.raw_lengths[row])])


def damaged_frames(
    store: BlobStore,
    framer: Framer,
    key: str,
    contents: PackContents,
    read: Callable[[int], None] = lambda _count: None,
    *,
    scratch: ReadBuffers,
) -> Iterator[tuple[int, str]]:
    """Read every byte before a pack's footer; yield row and reason for each frame that differs from the footer.

    Row -1 stands for the pack as a whole: every frame still holds its content, but some byte has changed.

    :param read: called after each read, with the number of bytes.
    :param scratch: buffers of the calling thread.
    """
    box = framer.box(key)
    row = 0
    checksum = xxhash.xxh3_64(store.get_range(key, 0, PACK_HEADER_SIZE))
    good = True
    while row < contents.count:
        start = int(contents.offsets[row])
        last = row
        while last < contents.count and _end(contents, last) - start <= max(_READ, int(contents.lengths[row])):
            last += 1
        length = _end(contents, last - 1) - start
        view = scratch.take(0, length)[:length]
        count = store.get_into(key, start, view)
        read(count)
        checksum.update(view[:count])
        for number in range(row, last):
            at = int(contents.offsets[number]) - start
            reason = _judge(box, contents, number, view[at : min(count, _end(contents, number) - start)], scratch)
            if reason is not None:
                good = False
                yield number, reason
        row = last
    if good and checksum.intdigest() != contents.checksum:
        yield -1, "a byte has changed since the pack was written, though every frame still holds its content"


def _end(contents: PackContents, row: int) -> int:
    return int(contents.offsets[row]) + int(contents.lengths[row])


def _judge(box: Box, contents: PackContents, row: int, frame: memoryview, scratch: ReadBuffers) -> str | None:
    try:
        header = parse_header(frame)
        raw_length = int(contents.raw_lengths[row])
        if (header.kind, header.digest) != (contents.kind, contents.digest(row)):
            return "is not the frame that the footer lists"
        if (header.frame_length, header.raw_length) != (len(frame), raw_length) or raw_length > MAX_RAW:
            return "has other lengths than the footer lists"
        box.unpack_into(header, frame[HEADER_SIZE:], scratch.take(1, raw_length))
    except CorruptError as error:
        return str(error)
    return None
