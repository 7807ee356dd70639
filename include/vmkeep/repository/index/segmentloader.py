"""Opens index segments: from the folder, from this machine's cache, or from the store.

This module knows how a segment gets into memory and how to verify it. It knows nothing of look-ups.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from vmkeep.blobs import BlobStore, abreast, is_remote, opened
from vmkeep.errors import BlobNotFoundError, CorruptError, StoreFullError, VmKeepError
from vmkeep.repository.folders import INDEX
from vmkeep.repository.frames import HEADER_SIZE, ZERO, Cipher, Codec, FrameHeader, Framer, Kind, Packed, parse_header
from vmkeep.repository.index.largesegments import LargeSegment
from vmkeep.repository.index.layout import MAX_BLOB
from vmkeep.repository.index.segmentcache import SegmentCache
from vmkeep.repository.index.segments import Segment
from vmkeep.scratch import scratch_folder

_VERIFIED = 8 << 20
"""A segment up to this size, in bytes, is verified whenever it is opened. A larger one is verified when it is fetched,
and later read only where it is searched. If such a segment names a wrong place, the frame there will show it."""
_PIECE = 4 << 20
"""Bytes fetched by one request."""
_SMALL = 1 << 20
"""For a segment up to this size, in bytes, latency matters more than memory."""
_AT_ONCE = 4
"""Number of larger segments that are fetched at the same time."""
_NETWORKED = ("nfs", "cifs", "smb", "fuse", "ceph", "gluster", "lustre", "9p", "afs", "beegfs", "gpfs")


class SegmentLoader:
    """Opens the segments of one repository. Thread-safe."""

    def __init__(
        self,
        store: BlobStore,
        framer: Framer,
        *,
        cache: Path | None = None,
        fetched: Mapping[str, bytes] | None = None,
    ) -> None:
        """Open nothing yet.

        :param fetched: blobs of small segments that were fetched already, by key; each is used once.
        """
        self._store = store
        self._framer = framer
        self._fetched = dict(fetched or {})
        self._cache = None if cache is None else SegmentCache(cache)
        self._large_cached = cache is not None and not _networked(cache)
        self._remote = is_remote(store)
        self._mappable = not framer.encrypts and not self._remote and not _networked(store.local_path(f"{INDEX}0"))
        self._whole = threading.Lock()
        """Held by the thread that has a whole large segment in memory."""

    def open_all(self, sizes: Sequence[tuple[str, int]]) -> Iterator[tuple[str, Segment | VmKeepError]]:
        """Yield some segments by key, small ones first, or the error if one is gone or damaged."""
        if not self._remote or len(sizes) < 2:
            yield from ((key, self._try(key, size)) for key, size in sizes)
            return
        small = [item for item in sizes if item[1] <= _SMALL]
        large = [item for item in sizes if item[1] > _SMALL]
        opened = abreast(self._store, lambda item: self._try(*item), small)
        yield from zip((key for key, _ in small), opened, strict=True)
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            opened = threads.map(lambda item: self._try(*item), large)
            yield from zip((key for key, _ in large), opened, strict=True)

    def open(self, key: str, size: int) -> Segment:
        """Return a segment.

        :param size: size of its blob, as listed.
        :raises BlobNotFoundError: it does not exist any more.
        :raises CorruptError: it is damaged.
        """
        fetched = self._fetched.pop(key, None)
        large = size > _VERIFIED
        if large and self._mappable and (path := self._store.local_path(key)) is not None:
            return _mapped(path)
        cached = self._large_cached if large else self._cache is not None and self._remote
        if cached and (segment := self._from_cache(key, size)) is not None:
            return segment
        if large:
            return self._fetch(key, size)
        blob = self._store.get(key) if fetched is None else fetched
        content = self._framer.unwrap(Kind.INDEX, blob, name=key, limit=MAX_BLOB)
        segment = Segment(content)
        if cached and self._cache is not None:
            header = _plain(parse_header(blob))
            file = self._cache.add(_id(key), lambda file: _write(file, header, content), sync=False)
            if file is not None:
                os.close(file)
        return segment

    def is_whole(self, key: str, segment: Segment) -> bool:
        """Return whether the whole content of an open segment matches the digest of its blob."""
        if not isinstance(segment, LargeSegment):
            return True  # it was checked when it was opened
        with self._whole:
            try:
                header = parse_header(self._store.get_range(key, 0, HEADER_SIZE))
            except (BlobNotFoundError, CorruptError):
                return False
            whole = self._framer.digester.of(Kind.INDEX, segment.content) == header.digest
            segment.release()
            return whole

    def cached(self) -> set[str]:
        """Return the ids of the segments in this machine's cache. Call it before the store is listed."""
        return set() if self._cache is None else self._cache.ids()

    def forget(self, ids: set[str]) -> None:
        """Remove segments from the cache that are not in the store any more."""
        if self._cache is not None:
            self._cache.forget(ids)

    def _try(self, key: str, size: int) -> Segment | VmKeepError:
        try:
            return self.open(key, size)
        except (BlobNotFoundError, CorruptError) as error:
            return error

    def _from_cache(self, key: str, size: int) -> Segment | None:
        """Return a segment from the cache if it is there and seems whole, as far as a short look can tell."""
        assert self._cache is not None
        if (file := self._cache.open(_id(key))) is None:
            return None
        try:
            with suppress(CorruptError, OSError):
                header = parse_header(os.pread(file, HEADER_SIZE, 0))
                whole = HEADER_SIZE + header.raw_length == os.fstat(file).st_size == size - self._overhead(key)
                if header != _plain(header) or header.kind is not Kind.INDEX or not whole:
                    return None
                if size > _VERIFIED:
                    return LargeSegment(os.dup(file), start=HEADER_SIZE)
                content = os.pread(file, header.raw_length, HEADER_SIZE)
                if self._framer.digester.of(Kind.INDEX, content) == header.digest:
                    return Segment(content)
        finally:
            os.close(file)
        return None

    def _overhead(self, key: str) -> int:
        """Return by how many bytes encryption makes a blob longer."""
        return self._framer.box(key).frame_length(Packed(Kind.INDEX, ZERO, 0, Codec.NONE, b"")) - HEADER_SIZE

    def _fetch(self, key: str, size: int) -> Segment:
        """Fetch a large segment into the cache. Without a cache, fetch it into a nameless temporary file."""
        file = None
        if self._cache is not None and self._large_cached:
            file = self._cache.add(_id(key), lambda file: self._fill(file, key, size), sync=True)
        if file is None:
            try:
                with tempfile.TemporaryFile() as unnamed:
                    self._fill(unnamed.fileno(), key, size)
                    file = os.dup(unnamed.fileno())
            except OSError as error:
                raise StoreFullError(
                    f"{scratch_folder()}: no room for the {size} bytes of {key}: {error.strerror}; "
                    "set VMKEEP_CACHE or TMPDIR to a folder with room for it"
                ) from error
        return LargeSegment(file, start=HEADER_SIZE)

    def _fill(self, file: int, key: str, size: int) -> None:
        """Write a segment as an unencrypted frame, and check its digest."""
        if not self._framer.encrypts:
            self._download(file, key, size)
            self._check(file, key)
            return
        with tempfile.TemporaryFile() as stored:
            self._download(stored.fileno(), key, size)
            with self._whole:
                box, blob = self._framer.box(key), _map(stored.fileno())
                header = box.parse_whole(Kind.INDEX, blob, limit=MAX_BLOB)
                os.posix_fallocate(file, 0, HEADER_SIZE + header.raw_length)  # or a full disk kills us at the mapping
                frame = _map(file, access=mmap.ACCESS_WRITE)
                frame[:HEADER_SIZE] = _plain(header).encode()
                box.unpack_into(header, blob[HEADER_SIZE:], frame[HEADER_SIZE:])

    def _check(self, file: int, key: str) -> None:
        with self._whole:
            blob = _map(file)
            header = self._framer.box(key).parse_whole(Kind.INDEX, blob, limit=MAX_BLOB)
            if self._framer.digester.of(Kind.INDEX, blob[HEADER_SIZE:]) != header.digest:
                raise CorruptError("content does not match its digest")

    def _download(self, file: int, key: str, size: int) -> None:
        os.posix_fallocate(file, 0, size)
        piece = memoryview(bytearray(min(_PIECE, size)))
        at = 0
        while at < size:
            wanted = piece[: size - at]
            if self._store.get_into(key, at, wanted) != len(wanted):
                raise CorruptError(f"{key}: is shorter than the store says")
            os.pwrite(file, wanted, at)
            at += len(wanted)


def _mapped(path: Path) -> Segment:
    try:
        with opened(path) as file:
            header = parse_header(os.pread(file, HEADER_SIZE, 0))
            size = os.fstat(file).st_size
            if header.kind is not Kind.INDEX or header.frame_length != size or header != _plain(header):
                raise CorruptError("not an index segment, or cut off")
            return LargeSegment(os.dup(file), start=HEADER_SIZE)
    except FileNotFoundError as error:
        raise BlobNotFoundError(f"{path}: no such blob") from error


def _plain(header: FrameHeader) -> FrameHeader:
    """Return the header that the same content has in an unencrypted frame."""
    return FrameHeader(
        kind=header.kind,
        codec=Codec.NONE,
        cipher=Cipher.NONE,
        raw_length=header.raw_length,
        stored_length=header.raw_length,
        digest=header.digest,
    )


def _write(file: int, header: FrameHeader, content: memoryview) -> None:
    with open(file, "wb", closefd=False) as stream:
        stream.write(header.encode())
        stream.write(content)


def _map(file: int, *, access: int = mmap.ACCESS_READ) -> memoryview:
    return memoryview(mmap.mmap(file, 0, access=access))


def _id(key: str) -> str:
    return key.removeprefix(INDEX)


def _networked(path: Path | None) -> bool:
    """Return whether a path is on a network file system, where deleting a file takes it from those who map it."""
    if path is None:
        return False
    best, kind = "", ""
    above = {str(parent) for parent in path.absolute().parents}
    with suppress(OSError):
        for line in Path("/proc/self/mounts").read_text(errors="surrogateescape").splitlines():
            point, this = line.split()[1:3]
            if point in above and len(point) >= len(best):
                best, kind = point, this
    return kind.startswith(_NETWORKED)
