"""Frames: the one envelope of everything stored but the descriptor.

    offset  size  field (little-endian)
    0       4     magic ``VKF1``
    4       1     kind (digests.Kind)
    5       1     codec (codecs.Codec)
    6       1     cipher: 0 none, 1 AES-256-GCM
    7       1     0
    8       4     raw length: bytes of the content
    12      4     stored length: bytes of the payload that follows this header
    16      32    digest of the content, in its kind's domain
    48            payload

With cipher 1 the payload is nonce (12), ciphertext, tag (16), and the header is authenticated with it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from vmkeep.blobs import Bytes
from vmkeep.errors import CorruptError
from vmkeep.repository.codecs import Codec, compress, decompress_into
from vmkeep.repository.digests import Digester, Kind

_HEADER = struct.Struct("<4sBBBBII32s")
HEADER_SIZE = _HEADER.size
MAGIC = b"VKF1"
_NO_CIPHER = 0

MAX_SMALL = 64 << 20
"""Largest content of a manifest or note: what a reader may be made to allocate by a hostile length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameHeader:
    """A frame's header, parsed and plausible; its digest is checked once the content is there."""

    kind: Kind
    codec: Codec
    raw_length: int
    stored_length: int
    digest: bytes

    @property
    def frame_length(self) -> int:
        """Bytes of header and payload."""
        return HEADER_SIZE + self.stored_length


def parse_header(data: Bytes) -> FrameHeader:
    """Parse a frame header.

    :raises CorruptError: it is none, or one that this version cannot read.
    """
    if len(data) < HEADER_SIZE:
        raise CorruptError("frame header is cut off")
    magic, kind, codec, cipher, reserved, raw_length, stored_length, digest = _HEADER.unpack_from(data)
    if magic != MAGIC or reserved:
        raise CorruptError("not a frame header")
    if cipher != _NO_CIPHER:
        raise CorruptError(f"frame is encrypted by method {cipher}, which this repository does not use")
    try:
        return FrameHeader(
            kind=Kind(kind), codec=Codec(codec), raw_length=raw_length, stored_length=stored_length, digest=digest
        )
    except ValueError as error:
        raise CorruptError(f"frame header: {error}") from error


class Framer:
    """Packs content into frames and unpacks it, by the rules of one repository: digests and compression."""

    def __init__(self, *, codec: Codec, digester: Digester) -> None:
        self._codec = codec
        self.digester = digester

    def pack(self, kind: Kind, digest: bytes, raw: Bytes, *, codec: Codec | None = None) -> tuple[bytes, Bytes]:
        """Return header and payload; the payload may be ``raw`` itself."""
        used, payload = compress(self._codec if codec is None else codec, raw)
        return _HEADER.pack(MAGIC, kind, used, _NO_CIPHER, 0, len(raw), len(payload), digest), payload

    def unpack_into(self, header: FrameHeader, payload: Bytes, out: memoryview) -> memoryview:
        """Fill ``out`` with a frame's content and return that part of it, its digest checked.

        :raises CorruptError: the content is not what the header's digest says.
        """
        if header.raw_length > len(out):
            raise CorruptError(f"frame claims {header.raw_length} bytes, of at most {len(out)}")
        raw = out[: header.raw_length]
        try:
            decompress_into(header.codec, payload, raw)
        except ValueError as error:
            raise CorruptError(f"frame does not decompress: {error}") from error
        if self.digester.of(header.kind, raw) != header.digest:
            raise CorruptError("content does not match its digest")
        return raw

    def wrap(self, kind: Kind, content: Bytes) -> bytes:
        """Return a whole frame, not compressed: the form of blobs that hold one thing. Every bit of it matters."""
        header, payload = self.pack(kind, self.digester.of(kind, content), content, codec=Codec.NONE)
        return b"".join((header, payload))

    def unwrap(self, kind: Kind, blob: Bytes, *, limit: int = MAX_SMALL) -> memoryview:
        """Return the content of a blob that :meth:`wrap` made, its digest checked.

        :raises CorruptError: anything is not as it was.
        """
        header = parse_header(blob)
        if header.kind is not kind:
            raise CorruptError(f"holds a {header.kind.name.lower()} instead of a {kind.name.lower()}")
        if header.frame_length != len(blob):
            raise CorruptError(f"{len(blob)} bytes instead of {header.frame_length}")
        if header.codec is not Codec.NONE or header.raw_length != header.stored_length or len(blob) > limit:
            raise CorruptError(f"claims to hold {header.raw_length} bytes")
        payload = memoryview(blob)[HEADER_SIZE:]
        if self.digester.of(kind, payload) != header.digest:
            raise CorruptError("content does not match its digest")
        return payload
