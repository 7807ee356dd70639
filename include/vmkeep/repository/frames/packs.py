"""Packs: blobs of many frames, with a footer that lists them, so that the index can be rebuilt from packs alone.

    32 bytes   pack header: magic ``VKPACK`` and two zero bytes, u16 version 1, u16 kind of its frames,
               u32 0, 16 bytes pack id
    ...        frames, one after another
    ...        one more frame, of kind FOOTER, not compressed: pack id (16), u32 count, u32 0, u64 checksum, then
               by columns
               offsets u32[count], frame lengths u32[count], raw lengths u32[count], digests [count][32]
    56 bytes   trailer: magic ``VKTRAIL`` and a zero byte, u64 offset of the footer, u32 its frame length, u32 0,
               digest of the footer

The checksum is XXH3-64 of all bytes before the footer. It finds damage that digests cannot: a flipped bit that does not
change the decompressed content.

A pack's id is random and never derived from its content. Maintenance may be about to delete an unreferenced pack while
a backup stores the same blocks again. If both packs had one name, the deletion would take the new one.
"""

from __future__ import annotations

import secrets
import struct
from array import array
from collections.abc import Container
from dataclasses import field

import xxhash

from vmkeep.blobs import Bytes
from vmkeep.errors import CorruptError
from vmkeep.lateclass import dataclass
from vmkeep.ownmemory import own_memory
from vmkeep.repository.frames.digests import DIGEST_SIZE, Kind
from vmkeep.repository.frames.frames import HEADER_SIZE, Framer, Packed

_PACK_HEADER = struct.Struct("<8sHHI16s")
_TRAILER = struct.Struct("<8sQII32s")
_FOOTER_HEADER = struct.Struct("<16sIIQ")
_MAGIC = b"VKPACK\0\0"
_TRAILER_MAGIC = b"VKTRAIL\0"
_VERSION = 1
_ROW = 4 + 4 + 4 + DIGEST_SIZE
PACK_HEADER_SIZE = _PACK_HEADER.size
TRAILER_SIZE = _TRAILER.size
ID_SIZE = 16

MAX_FRAMES = 16384
"""Most frames in one pack; so a footer has at most 720 KiB."""
MAX_FRAME = (4 << 20) + (64 << 10)
"""Longest frame of a pack, in bytes: the largest block, and more than any header or cipher adds."""
MAX_PACK = 1 << 30
"""Largest pack, in bytes. A reader refuses a pack that claims to be larger."""


def pack_key(pack_id: bytes) -> str:
    """Return the blob key of a pack."""
    name = pack_id.hex()
    return f"packs/{name[:2]}/{name}"


def overhead(frames: int) -> int:
    """Return the number of bytes that a pack needs besides its frames. An encrypted pack needs 28 bytes more.

    :param frames: number of frames in the pack.
    """
    return PACK_HEADER_SIZE + HEADER_SIZE + _FOOTER_HEADER.size + _ROW * frames + TRAILER_SIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class PackContents:
    """The list in a pack's footer: its frames in order of offset, by columns."""

    pack_id: bytes
    kind: Kind
    offsets: array[int]
    lengths: array[int]
    """Lengths of whole frames with their headers, in bytes."""
    raw_lengths: array[int]
    digests: bytes = field(repr=False)
    checksum: int
    """Checksum of all bytes before the footer."""

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.offsets)

    def digest(self, row: int) -> bytes:
        """Return the digest of one frame."""
        return self.digests[row * DIGEST_SIZE : (row + 1) * DIGEST_SIZE]

    def encode(self) -> bytes:
        """Return the footer's content."""
        head = _FOOTER_HEADER.pack(self.pack_id, self.count, 0, self.checksum)
        columns = (column.tobytes() for column in (self.offsets, self.lengths, self.raw_lengths))
        return b"".join((head, *columns, self.digests))


def parse_footer(content: Bytes, *, kind: Kind, end: int) -> PackContents:
    """Parse a footer's content.

    :param end: the offset at which the frames end and the footer begins.
    :raises CorruptError: the footer does not describe frames that fill the pack without gaps.
    """
    if len(content) < _FOOTER_HEADER.size:
        raise CorruptError("footer is cut off")
    pack_id, count, reserved, checksum = _FOOTER_HEADER.unpack_from(content)
    if reserved or count > MAX_FRAMES or len(content) != _FOOTER_HEADER.size + count * _ROW:
        raise CorruptError("footer has a wrong length")
    view, at = memoryview(content), _FOOTER_HEADER.size
    columns = (bytes(view[at + 4 * column * count :][: 4 * count]) for column in range(3))
    offsets, lengths, raw_lengths = (array("I", column) for column in columns)  # vmkeep runs on little-endian only
    expected = PACK_HEADER_SIZE
    for offset, length in zip(offsets, lengths, strict=True):
        if offset != expected or length < HEADER_SIZE:
            raise CorruptError("footer does not describe the frames of this pack")
        expected += length
    if expected != end:
        raise CorruptError("footer does not describe the frames of this pack")
    digests = bytes(view[at + 12 * count :])
    return PackContents(
        pack_id=pack_id,
        kind=kind,
        offsets=offsets,
        lengths=lengths,
        raw_lengths=raw_lengths,
        digests=digests,
        checksum=checksum,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trailer:
    """The last bytes of a pack, which say where its footer is."""

    footer_at: int
    footer_length: int
    digest: bytes


def parse_trailer(data: Bytes, *, pack_size: int) -> Trailer:
    """Parse the last :data:`TRAILER_SIZE` bytes of a pack.

    :param pack_size: the size of the whole pack, in bytes.
    :raises CorruptError: the pack is cut off or damaged.
    """
    if len(data) != TRAILER_SIZE:
        raise CorruptError("pack is cut off")
    magic, footer_at, footer_length, reserved, digest = _TRAILER.unpack(data)
    if magic != _TRAILER_MAGIC or reserved:
        raise CorruptError("pack has no trailer: it is cut off or damaged")
    if pack_size > MAX_PACK or footer_at + footer_length + TRAILER_SIZE != pack_size or footer_at < PACK_HEADER_SIZE:
        raise CorruptError("pack's trailer does not fit its size")
    return Trailer(footer_at=footer_at, footer_length=footer_length, digest=digest)


def parse_pack_header(data: Bytes, *, pack_id: bytes) -> Kind:
    """Check a pack's header and return the kind of its frames.

    :param pack_id: the id that the pack's name tells.
    :raises CorruptError: the bytes are no pack header, or the header holds another id.
    """
    if len(data) < PACK_HEADER_SIZE:
        raise CorruptError("pack is cut off")
    magic, version, kind, reserved, found = _PACK_HEADER.unpack_from(data)
    if magic != _MAGIC or reserved:
        raise CorruptError("not a pack")
    if version != _VERSION:
        raise CorruptError(f"pack has version {version}; this program reads version {_VERSION}")
    if found != pack_id:
        raise CorruptError(f"pack says that it is {found.hex()}: it was swapped or renamed")
    if kind not in (Kind.BLOCK, Kind.PAGE):
        raise CorruptError(f"pack of unknown kind {kind}")
    return Kind(kind)


class PackBuffer:
    """Memory for one pack. It is mapped, so that a small backup uses only the pages that it fills."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.view = memoryview(own_memory(size))


class OpenPack:
    """A pack that is being filled, in a buffer that is reused afterwards. Not thread-safe."""

    def __init__(self, kind: Kind, buffer: PackBuffer, framer: Framer) -> None:
        self.id = secrets.token_bytes(ID_SIZE)
        self._framer = framer
        self._box = framer.box(pack_key(self.id))
        self.kind = kind
        self.buffer = buffer
        self.used = PACK_HEADER_SIZE
        self._offsets, self._lengths, self._raw_lengths = array("I"), array("I"), array("I")
        self._digests = bytearray()
        buffer.view[:PACK_HEADER_SIZE] = _PACK_HEADER.pack(_MAGIC, _VERSION, kind, 0, self.id)

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self._offsets)

    def fits(self, packed: Packed) -> bool:
        """Return whether one more frame fits, together with the footer that lists it."""
        count = len(self._offsets) + 1
        end = self.used + self._box.frame_length(packed)
        footer = self._box.frame_length(packed) - len(packed.payload) + _FOOTER_HEADER.size + count * _ROW
        return count <= MAX_FRAMES and end + footer + TRAILER_SIZE <= self.buffer.size

    def append(self, packed: Packed) -> int:
        """Write one frame into the pack and return its length in bytes. Call :meth:`fits` before."""
        length = self._box.write(packed, self.buffer.view[self.used :])
        self._offsets.append(self.used)
        self._lengths.append(length)
        self._raw_lengths.append(packed.raw_length)
        self._digests += packed.digest
        self.used += length
        return length

    @property
    def digests(self) -> bytes:
        """The digests of the frames, one after another."""
        return bytes(self._digests)

    def drop(self, digests: Container[bytes]) -> int:
        """Take frames out, so that there is room for others; return their bytes. The other frames move up."""
        offsets, lengths, raw_lengths, all_digests = self._offsets, self._lengths, self._raw_lengths, self._digests
        self._offsets, self._lengths, self._raw_lengths = array("I"), array("I"), array("I")
        self._digests, before, self.used = bytearray(), self.used, PACK_HEADER_SIZE
        view = self.buffer.view
        for row, (offset, length) in enumerate(zip(offsets, lengths, strict=True)):
            digest = bytes(all_digests[row * DIGEST_SIZE : (row + 1) * DIGEST_SIZE])
            if digest in digests:
                continue
            if offset != self.used:
                view[self.used : self.used + length] = view[offset : offset + length]
            self._offsets.append(self.used)
            self._lengths.append(length)
            self._raw_lengths.append(raw_lengths[row])
            self._digests += digest
            self.used += length
        return before - self.used

    def finish(self) -> tuple[memoryview, PackContents]:
        """Append footer and trailer; return the pack's bytes and its contents.

        The bytes are a view of the buffer, valid until the buffer is reused.
        """
        contents = PackContents(
            pack_id=self.id,
            kind=self.kind,
            offsets=self._offsets,
            lengths=self._lengths,
            raw_lengths=self._raw_lengths,
            digests=bytes(self._digests),
            checksum=xxhash.xxh3_64_intdigest(self.buffer.view[: self.used]),
        )
        content = contents.encode()
        footer = self._box.wrap(Kind.FOOTER, content)
        digest = self._framer.digester.of(Kind.FOOTER, content)
        tail = footer + _TRAILER.pack(_TRAILER_MAGIC, self.used, len(footer), 0, digest)
        self.buffer.view[self.used : self.used + len(tail)] = tail
        return self.buffer.view[: self.used + len(tail)], contents
