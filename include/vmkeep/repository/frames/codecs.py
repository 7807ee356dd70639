"""Compresses frames with zstd level 1, with lz4 or not at all. Each thread reuses its zstd contexts."""

from __future__ import annotations

import threading
from enum import IntEnum

import lz4.block
import zstandard

from vmkeep.blobs import Bytes
from vmkeep.errors import UsageError

_LEVEL = 1
_QUICK = -5
"""The level that finds out whether a block can be compressed at all, at a tenth of the cost where it cannot."""
_WORTHWHILE = 64
"""A block has shrunk if at least this part of it was saved: one in 64."""


class Codec(IntEnum):
    """The compression of a frame's payload."""

    NONE = 0
    ZSTD = 1
    LZ4 = 2

    @classmethod
    def named(cls, name: str) -> Codec:
        """Return the codec with a name, as users write it.

        :raises UsageError: there is no codec of that name.
        """
        try:
            return cls[name.upper()]
        except KeyError:
            names = ", ".join(codec.name.lower() for codec in cls)
            raise UsageError(f"no compression '{name}'; choose one of {names}") from None


class _Contexts(threading.local):
    """One thread's zstd contexts, reused because creating them costs more than compressing a small block."""

    def __init__(self) -> None:
        # The content's size in zstd's frame lets it decompress into the destination in one pass.
        self.compressor = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True, write_checksum=False)
        self.quick = zstandard.ZstdCompressor(level=_QUICK, write_checksum=False)
        self.shrank = True
        """Whether the last block has shrunk. Blocks that cannot be compressed lie side by side, as in a video."""
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()


def compress(codec: Codec, data: Bytes) -> tuple[Codec, Bytes]:
    """Return the smaller of the compressed and the raw data, with the codec that it is in."""
    if codec is Codec.NONE:
        return codec, data
    packed = _zstd_compress(data) if codec is Codec.ZSTD else _lz4_compress(data)
    return (codec, packed) if len(packed) < len(data) else (Codec.NONE, data)


def decompress_into(codec: Codec, payload: Bytes, out: memoryview) -> None:
    """Decompress a payload into ``out``, which it has to fill exactly. Never write past ``out``.

    :raises ValueError: the payload is damaged, or decompresses to another number of bytes.
    """
    if codec is Codec.NONE:
        if len(payload) != len(out):
            raise ValueError(f"{len(payload)} bytes instead of {len(out)}")
        out[:] = payload
        return
    count = _zstd_into(payload, out) if codec is Codec.ZSTD else _lz4_into(payload, out)
    if count != len(out):
        raise ValueError(f"{count} bytes instead of {len(out)}")


def _zstd_compress(data: Bytes) -> Bytes:
    """Return compressed data. After a block that has not shrunk, return data as it is if a quick try saves nothing."""
    contexts = _contexts
    enough = len(data) - len(data) // _WORTHWHILE
    if not contexts.shrank and len(contexts.quick.compress(data)) > enough:
        return data
    packed: bytes = contexts.compressor.compress(data)
    contexts.shrank = len(packed) <= enough
    return packed


def _zstd_into(payload: Bytes, out: memoryview) -> int:
    try:
        if (claimed := zstandard.frame_content_size(payload)) != len(out):
            return claimed
        with _contexts.decompressor.stream_reader(payload) as reader:
            return reader.readinto(out)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error


def _lz4_compress(data: Bytes) -> bytes:
    packed: bytes = lz4.block.compress(data, store_size=False)
    return packed


def _lz4_into(payload: Bytes, out: memoryview) -> int:
    try:
        raw: bytes = lz4.block.decompress(payload, uncompressed_size=len(out))
    except lz4.block.LZ4BlockError as error:
        raise ValueError(str(error)) from error
    out[: len(raw)] = raw
    return len(raw)
