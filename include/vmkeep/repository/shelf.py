"""Where the content of index segments comes from: mapped from the folder, or read from the store.

Knows how a segment gets into memory, and nothing of what is looked up in it.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path

from vmkeep.blobs import BlobStore, Bytes
from vmkeep.errors import CorruptError
from vmkeep.repository.digests import Kind
from vmkeep.repository.frames import HEADER_SIZE, Cipher, Framer, parse_header
from vmkeep.repository.largesegments import LargeSegment
from vmkeep.repository.segments import Segment

_VERIFIED = 8 << 20
"""Bytes up to which a segment's digest is checked whenever it is opened; larger ones are mapped and only paged in
where they are read. A wrong place found in them shows at the frame it points to."""
_LIMIT = 1 << 32


class Shelf:
    """Opens the segments of one repository. Thread-safe."""

    def __init__(self, store: BlobStore, framer: Framer, *, cache: Path | None = None) -> None:
        self._store = store
        self._framer = framer
        self._cache = cache

    def open(self, key: str, size: int) -> Segment:
        """Return a segment.

        :raises BlobNotFoundError: it is not there any more.
        :raises CorruptError: it is damaged.
        """
        path = self._store.local_path(key)
        if size > _VERIFIED and self._framer.encrypts:
            return self._decrypted(key, self._store.get(key) if path is None else _map(path))
        if size <= _VERIFIED or path is None:
            return Segment(self._framer.unwrap(Kind.INDEX, self._store.get(key), name=key, limit=_LIMIT))
        return _mapped(path)

    def _decrypted(self, key: str, blob: Bytes) -> Segment:
        """Decrypt a large segment into a temporary mapped file; what is in it is keyed digests, and no content."""
        box = self._framer.box(key)
        header = box.parse_whole(Kind.INDEX, blob, limit=_LIMIT)
        with tempfile.TemporaryFile(dir=self._cache) as file:
            file.truncate(header.raw_length)
            content = memoryview(mmap.mmap(file.fileno(), header.raw_length))
        return Segment(box.unpack_into(header, memoryview(blob)[HEADER_SIZE:], content))


def _mapped(path: Path) -> Segment:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        header = parse_header(os.pread(file, HEADER_SIZE, 0))
        length = os.fstat(file).st_size
        if header.kind is not Kind.INDEX or header.cipher is not Cipher.NONE or header.frame_length != length:
            raise CorruptError("not an index segment, or cut off")
        return LargeSegment(os.dup(file), start=HEADER_SIZE)
    finally:
        os.close(file)


def _map(path: Path) -> memoryview:
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
