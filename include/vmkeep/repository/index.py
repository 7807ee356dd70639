"""The index: digest → place of its frame, over all segments of a repository.

A repository with thousands of small segments must not pay for each of them at every look-up, so segments are kept
in tiers: as soon as several of about one size have gathered, they are merged into one, in memory while small, in a
temporary mapped file beyond that. Only this process sees the merged ones; those in the store are left alone.
"""

from __future__ import annotations

import mmap
import secrets
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from vmkeep.blobs import BlobStore, Bytes
from vmkeep.errors import BlobNotFoundError, CorruptError
from vmkeep.repository.digests import Kind
from vmkeep.repository.frames import HEADER_SIZE, Cipher, Framer, parse_header
from vmkeep.repository.packs import ID_SIZE, PackContents
from vmkeep.repository.segments import Columns, Location, Segment, columns_of, encode, encode_parts

PREFIX = "index/"
_FANOUT = 8
"""Segments of one tier that are merged into one of the next."""
_LOADED = 64
"""Segments opened before they are merged: thousands are never in memory together."""
_LARGE = 1 << 20
"""Entries from which on a segment is left as it is: merging takes memory, and is maintenance's business then."""
_IN_MEMORY = 1 << 18
"""Entries (11 MiB) up to which a merged segment lives in memory."""
_VERIFIED = 8 << 20
"""Bytes up to which a segment's digest is checked whenever it is opened; larger ones are mapped and only paged in
where they are read. A wrong place found in them shows at the frame it points to."""
_LIMIT = 1 << 32


def segment_key(segment_id: bytes) -> str:
    """Return the blob key of an index segment."""
    return f"{PREFIX}{segment_id.hex()}"


class Index:
    """All segments of a repository. Thread-safe; look-ups take no lock."""

    def __init__(self, store: BlobStore, framer: Framer, *, cache: Path | None = None) -> None:
        self._store = store
        self._framer = framer
        self._cache = cache
        self._lock = threading.Lock()
        self._segments: tuple[Segment, ...] = ()
        self._loaded: set[str] = set()
        self.damaged: dict[str, str] = {}
        """Key → what is wrong, of segments that cannot be used. What they list is stored again by the next backup
        and missing for a restore, unless the index is rebuilt from the packs."""

    def refresh(self) -> None:
        """Load the segments that were added to the store since the last call."""
        with self._lock:
            found = {blob.key: blob.size for blob in self._store.list(PREFIX)}
            fresh = [key for key in found if key not in self._loaded]
            for at in range(0, len(fresh), _LOADED):
                opened = (self._open(key, found[key]) for key in fresh[at : at + _LOADED])
                segments = tuple(segment for segment in opened if segment is not None)
                self._segments = self._tiered((*self._segments, *segments))
            self._loaded.update(fresh)

    def find(self, digest: bytes) -> Location | None:
        """Return where a digest's frame is, or ``None``."""
        for segment in self._segments:
            if (location := segment.find(digest)) is not None:
                return location
        return None

    def store_segment(self, packs: list[PackContents]) -> int:
        """Write the segment that makes some durable packs findable, and look in it from now on; return its bytes."""
        content = encode(columns_of(packs))
        key = segment_key(secrets.token_bytes(ID_SIZE))
        blob = self._framer.wrap(Kind.INDEX, content, name=key)
        self._store.put(key, blob)
        with self._lock:
            self._loaded.add(key)
            self._segments = self._tiered((*self._segments, Segment(content)))
        return len(blob)

    def columns(self) -> Iterator[Columns]:
        """Yield the entries of every segment."""
        for segment in self._segments:
            if segment.entries:
                yield segment.columns()

    @property
    def entries(self) -> int:
        """Number of entries, blocks stored twice counted twice."""
        return sum(segment.entries for segment in self._segments)

    def _open(self, key: str, size: int) -> Segment | None:
        try:
            path = self._store.local_path(key)
            if size > _VERIFIED and self._framer.encrypts:
                return self._decrypted(key, self._store.get(key) if path is None else _map(path))
            if size <= _VERIFIED or path is None:
                return Segment(self._framer.unwrap(Kind.INDEX, self._store.get(key), name=key, limit=_LIMIT))
            return _mapped(path)
        except BlobNotFoundError:
            return None  # merged and removed by maintenance since we listed; its successor is listed too
        except CorruptError as error:
            self.damaged[key] = str(error)
            return None

    def _decrypted(self, key: str, blob: Bytes) -> Segment:
        """Decrypt a large segment into a temporary mapped file; what is in it is keyed digests, and no content."""
        box = self._framer.box(key)
        header = box.parse_whole(Kind.INDEX, blob, limit=_LIMIT)
        with tempfile.TemporaryFile(dir=self._cache) as file:
            file.truncate(header.raw_length)
            content = memoryview(mmap.mmap(file.fileno(), header.raw_length))
        return Segment(box.unpack_into(header, memoryview(blob)[HEADER_SIZE:], content))

    def _tiered(self, segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
        """Merge what has gathered in each tier, smallest first; return the largest first."""
        tiers: dict[int, list[Segment]] = {}
        large = [segment for segment in segments if segment.entries >= _LARGE]
        for segment in segments:
            if segment.entries < _LARGE:
                tiers.setdefault(_tier(segment.entries), []).append(segment)
        for tier in range(_tier(_LARGE) + 1):
            members = tiers.get(tier, [])
            if len(members) >= _FANOUT:
                merged = self._merged(members)
                tiers[tier] = []
                tiers.setdefault(_tier(merged.entries), []).append(merged)
        small = (segment for members in tiers.values() for segment in members)
        return tuple(sorted((*large, *small), key=lambda segment: -segment.entries))

    def _merged(self, members: list[Segment]) -> Segment:
        parts = [member.columns() for member in members]
        if sum(member.entries for member in members) <= _IN_MEMORY:
            return Segment(encode(*parts))
        with tempfile.TemporaryFile(dir=self._cache) as file:
            for column in encode_parts(parts):
                file.write(column)
            file.flush()
            return Segment(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))


def _tier(entries: int) -> int:
    return max(0, entries.bit_length() - 1) // 3


def _mapped(path: Path) -> Segment:
    view = _map(path)
    header = parse_header(view)
    if header.kind is not Kind.INDEX or header.cipher is not Cipher.NONE or header.frame_length != len(view):
        raise CorruptError("not an index segment, or cut off")
    return Segment(view[HEADER_SIZE:])


def _map(path: Path) -> memoryview:
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
