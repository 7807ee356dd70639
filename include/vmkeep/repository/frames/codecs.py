"""Compression of frames: zstd level 1, lz4 or none, with contexts that each thread uses again and again."""

from __future__ import annotations

import threading
from enum import IntEnum

import lz4.block
import zstandard

from vmkeep.blobs import Bytes
from vmkeep.errors import UsageError

_LEVEL = 1


class Codec(IntEnum):
    """The compression of a frame's payload."""

    NONE = 0
    ZSTD = 1
    LZ4 = 2

    @classmethod
    def named(cls, name: str) -> Codec:
        """Return the codec of that name as users write it.

        :raises UsageError: there is none.
        """
        try:
            return cls[name.upper()]
        except KeyError:
            names = ", ".join(codec.name.lower() for codec in cls)
            raise UsageError(f"no compression '{name}'; choose one of {names}") from None


class _Contexts(threading.local):
    """zstd's working memory, one per thread: making it anew for each block would cost more than small blocks do."""

    def __init__(self) -> None:
        # With the content's size in the frame, decompressing goes straight to its destination in one pass.
        self.compressor = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True, write_checksum=False)
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()


def compress(codec: Codec, data: Bytes) -> tuple[Codec, Bytes]:
    """Return the smaller of the compressed and the raw form, and which it is."""
    if codec is Codec.NONE:
        return codec, data
    packed: bytes = _contexts.compressor.compress(data) if codec is Codec.ZSTD else _lz4_compress(data)
    return (codec, packed) if len(packed) < len(data) else (Codec.NONE, data)


def decompress_into(codec: Codec, payload: Bytes, out: memoryview) -> None:
    """Fill ``out`` exactly.

    :raises ValueError: the payload is damaged, or holds another number of bytes. Never writes past ``out``.
    """
    if codec is Codec.NONE:
        if len(payload) != len(out):
            raise ValueError(f"{len(payload)} bytes instead of {len(out)}")
        out[:] = payload
        return
    count = _zstd_into(payload, out) if codec is Codec.ZSTD else _lz4_into(payload, out)
    if count != len(out):
        raise ValueError(f"{count} bytes instead of {len(out)}")


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
