"""Frames: the envelope of everything that a repository stores, except its descriptor.

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

With cipher 1 the payload is a nonce (12 bytes), the ciphertext and a tag (16 bytes). The tag authenticates the header,
too. The key is that of the blob in which the frame lies.
"""

from __future__ import annotations

import secrets
import struct
import threading
from enum import IntEnum
from typing import NamedTuple

from vmkeep.blobs import Bytes
from vmkeep.errors import CorruptError, UnsupportedError
from vmkeep.lateclass import dataclass
from vmkeep.repository.frames.codecs import Codec, compress, decompress_into
from vmkeep.repository.frames.digests import Digester, Kind
from vmkeep.repository.frames.keys import Keys

_HEADER = struct.Struct("<4sBBBBII32s")
HEADER_SIZE = _HEADER.size
MAGIC = b"VKF1"
_NONCE = 12
_TAG = 16

MAX_SMALL = 64 << 20
"""Largest content of a manifest or note, in bytes. It limits the memory that a forged length can make a reader use."""


class Cipher(IntEnum):
    """The encryption of a frame's payload."""

    NONE = 0
    AES_256_GCM = 1


class FrameHeader(NamedTuple):
    """A parsed frame header. Whether its digest is right shows only when the content is read.

    A tuple, because every frame that is read or written makes one.
    """

    kind: Kind
    codec: Codec
    cipher: Cipher
    raw_length: int
    stored_length: int
    digest: bytes

    @property
    def frame_length(self) -> int:
        """Bytes of header and payload."""
        return HEADER_SIZE + self.stored_length

    def encode(self) -> bytes:
        """Return the header's bytes."""
        return _HEADER.pack(
            MAGIC, self.kind, self.codec, self.cipher, 0, self.raw_length, self.stored_length, self.digest
        )


_KINDS = {int(kind): kind for kind in Kind}
_CODECS = {int(codec): codec for codec in Codec}
_CIPHERS = {int(cipher): cipher for cipher in Cipher}
"""The members by their numbers, because calling the classes takes longer."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Content that is ready to be written as a frame: compressed, but not encrypted."""

    kind: Kind
    digest: bytes
    raw_length: int
    codec: Codec
    payload: Bytes
    """The compressed content. Without compression it is the caller's buffer itself, not a copy."""


def parse_header(data: Bytes) -> FrameHeader:
    """Parse a frame header.

    :raises CorruptError: the bytes are no frame header, or this version of vmkeep cannot read it.
    """
    if len(data) < HEADER_SIZE:
        raise CorruptError("frame header is cut off")
    magic, kind, codec, cipher, reserved, raw_length, stored_length, digest = _HEADER.unpack_from(data)
    if magic != MAGIC or reserved:
        raise CorruptError("not a frame header")
    try:
        return FrameHeader(
            kind=_KINDS[kind],
            codec=_CODECS[codec],
            cipher=_CIPHERS[cipher],
            raw_length=raw_length,
            stored_length=stored_length,
            digest=digest,
        )
    except KeyError as error:
        raise CorruptError(f"frame header: no kind, codec or cipher has the number {error}") from error


class _DecryptBuffer(threading.local):
    """A thread's buffer for bytes between decryption and decompression, reused because allocating it costs time."""

    def __init__(self) -> None:
        self._buffer = bytearray(0)

    def take(self, size: int) -> memoryview:
        if len(self._buffer) < size:
            self._buffer = bytearray(max(size, 2 * len(self._buffer)))
        return memoryview(self._buffer)[:size]


_scratch = _DecryptBuffer()


class Box:
    """Writes and reads the frames of one blob. Thread-safe."""

    def __init__(self, digester: Digester, keys: Keys | None, name: str) -> None:
        self._digester = digester
        self._aead = None if keys is None else keys.aead(name)
        self._cipher = Cipher.NONE if keys is None else Cipher.AES_256_GCM
        self._overhead = 0 if keys is None else _NONCE + _TAG

    def frame_length(self, packed: Packed) -> int:
        """Return the number of bytes that :meth:`write` writes."""
        return HEADER_SIZE + len(packed.payload) + self._overhead

    def write(self, packed: Packed, out: memoryview) -> int:
        """Write a frame to the beginning of ``out``; return its length."""
        end = self.frame_length(packed)
        header = FrameHeader(
            kind=packed.kind,
            codec=packed.codec,
            cipher=self._cipher,
            raw_length=packed.raw_length,
            stored_length=end - HEADER_SIZE,
            digest=packed.digest,
        ).encode()
        out[:HEADER_SIZE] = header
        if self._aead is None:
            out[HEADER_SIZE:end] = packed.payload
        else:
            nonce, at = secrets.token_bytes(_NONCE), HEADER_SIZE + _NONCE
            out[HEADER_SIZE:at] = nonce
            self._aead.encrypt_into(nonce, packed.payload, header, out[at:end])
        return end

    def unpack_into(self, header: FrameHeader, payload: Bytes, out: memoryview) -> memoryview:
        """Write a frame's content into ``out``, check its digest, and return the part of ``out`` that holds it.

        :raises CorruptError: the content does not match the header's digest.
        """
        if header.raw_length > len(out):
            raise CorruptError(f"frame claims {header.raw_length} bytes, of at most {len(out)}")
        raw = out[: header.raw_length]
        length = self._plain_length(header, payload)
        if self._aead is not None:
            straight = header.codec is Codec.NONE and length == len(raw)
            payload = self._decrypt(header, payload, raw if straight else _scratch.take(length))
        else:
            straight = False
        if not straight:
            try:
                decompress_into(header.codec, payload, raw)
            except ValueError as error:
                raise CorruptError(f"frame does not decompress: {error}") from error
        if self._digester.of(header.kind, raw) != header.digest:
            raise CorruptError("content does not match its digest")
        return raw

    def unpack(self, header: FrameHeader, payload: Bytes, scratch: memoryview) -> Packed:
        """Check a frame's digest and return its content without encryption, so that another box can write it.

        :param scratch: memory into which the content is decompressed, because the digest is that of the raw content.
        :raises CorruptError: the content does not match the header's digest.
        """
        self.unpack_into(header, payload, scratch)
        plain: Bytes = payload
        if self._aead is not None:
            plain = self._decrypt(header, payload, memoryview(bytearray(self._plain_length(header, payload))))
        return Packed(header.kind, header.digest, header.raw_length, header.codec, plain)

    def wrap(self, kind: Kind, content: Bytes, *, limit: int = MAX_SMALL) -> bytes:
        """Return a whole frame, not compressed. Blobs that hold a single frame have this form.

        A change of any bit of it is noticed when it is read.

        :param limit: the largest blob that readers accept, in bytes.
        :raises UnsupportedError: the frame would be larger, so nobody could read it.
        """
        packed = Packed(kind, self._digester.of(kind, content), len(content), Codec.NONE, content)
        length = self.frame_length(packed)
        if length > limit:
            raise UnsupportedError(f"no {kind.name.lower()} of {length} bytes is stored: readers take up to {limit}")
        frame = bytearray(length)
        self.write(packed, memoryview(frame))
        return bytes(frame)

    def unwrap(self, kind: Kind, blob: Bytes, *, limit: int = MAX_SMALL) -> memoryview:
        """Return the content of a blob that :meth:`wrap` made, after checking its digest.

        :param limit: the largest blob to accept, in bytes.
        :raises CorruptError: any bit of the blob has changed.
        """
        header = self.parse_whole(kind, blob, limit=limit)
        payload = memoryview(blob)[HEADER_SIZE:]
        if self._aead is not None:
            payload = self._decrypt(header, payload, memoryview(bytearray(header.raw_length)))
        if self._digester.of(kind, payload) != header.digest:
            raise CorruptError("content does not match its digest")
        return payload

    def parse_whole(self, kind: Kind, blob: Bytes, *, limit: int) -> FrameHeader:
        """Return the header of a blob that :meth:`wrap` made, without checking the content.

        :param limit: the largest blob to accept, in bytes.
        :raises CorruptError: the header does not fit the blob's length, or this repository writes no such header.
        """
        header = parse_header(blob)
        if header.kind is not kind:
            raise CorruptError(f"holds a {header.kind.name.lower()} instead of a {kind.name.lower()}")
        if header.frame_length != len(blob):
            raise CorruptError(f"{len(blob)} bytes instead of {header.frame_length}")
        if header.cipher is self._cipher and (
            header.codec is not Codec.NONE
            or header.raw_length + self._overhead != header.stored_length
            or len(blob) > limit
        ):
            raise CorruptError(f"claims to hold {header.raw_length} bytes")
        self._plain_length(header, memoryview(blob)[HEADER_SIZE:])
        return header

    def _plain_length(self, header: FrameHeader, payload: Bytes) -> int:
        """Return the length of a payload after decryption, in bytes."""
        if header.cipher is not self._cipher:
            if self._aead is None:
                raise CorruptError("frame is encrypted, in a repository that is not")
            raise CorruptError("frame is not encrypted, in a repository that is")
        if len(payload) != header.stored_length or len(payload) < self._overhead:
            raise CorruptError(f"frame is cut off: {len(payload)} bytes instead of {header.stored_length}")
        return len(payload) - self._overhead

    def _decrypt(self, header: FrameHeader, payload: Bytes, out: memoryview) -> memoryview:
        from cryptography.exceptions import InvalidTag

        assert self._aead is not None
        view = memoryview(payload)
        try:
            self._aead.decrypt_into(bytes(view[:_NONCE]), view[_NONCE:], header.encode(), out)
        except InvalidTag:
            raise CorruptError("does not decrypt: it was altered, or swapped with another") from None
        return out


class Framer:
    """The rules by which one repository makes frames: digests, compression and encryption."""

    def __init__(self, *, codec: Codec, keys: Keys | None = None) -> None:
        self._codec = codec
        self._keys = keys
        self.digester = Digester() if keys is None else keys.digester()

    @property
    def encrypts(self) -> bool:
        """Return whether frames are encrypted."""
        return self._keys is not None

    def box(self, name: str) -> Box:
        """Return the writer and reader of the frames in the blob of that name."""
        return Box(self.digester, self._keys, name)

    def pack(self, kind: Kind, digest: bytes, raw: Bytes) -> Packed:
        """Compress content, so that a box can write it as a frame."""
        used, payload = compress(self._codec, raw)
        return Packed(kind, digest, len(raw), used, payload)

    def wrap(self, kind: Kind, content: Bytes, *, name: str, limit: int = MAX_SMALL) -> bytes:
        """Return the bytes of a blob that holds a single frame; see :meth:`Box.wrap`."""
        return self.box(name).wrap(kind, content, limit=limit)

    def unwrap(self, kind: Kind, blob: Bytes, *, name: str, limit: int = MAX_SMALL) -> memoryview:
        """Return the content of a blob that holds a single frame; see :meth:`Box.unwrap`."""
        return self.box(name).unwrap(kind, blob, limit=limit)
