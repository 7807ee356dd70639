"""The index: digest → place of its frame, over all segments of a repository.

A repository with thousands of small segments must not pay for each of them at every look-up, so small segments are kept
in tiers. As soon as several segments of about one size have gathered, they are merged into one: in memory while it is
small, otherwise in a temporary mapped file. Merged segments exist only in this process; those in the store are left
alone. Large segments that maintenance has cut by ranges of digests are looked up as one row.
"""

from __future__ import annotations

import mmap
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vmkeep.blobs import BlobStore
from vmkeep.errors import BlobNotFoundError
from vmkeep.lateclass import dataclass
from vmkeep.ownmemory import own_memory
from vmkeep.repository.folders import INDEX
from vmkeep.repository.frames import DIGEST_SIZE, ID_SIZE, Codec, Framer, Kind, PackContents, Packed
from vmkeep.repository.index import segmentloader
from vmkeep.repository.index.disjoint import DisjointSegments, disjoint_lists
from vmkeep.repository.index.gathered import gathered
from vmkeep.repository.index.largesegments import LargeSegment
from vmkeep.repository.index.layout import MAX_BLOB, Location, fits
from vmkeep.repository.index.mergedsegments import MergedSegments
from vmkeep.repository.index.segments import Segment
from vmkeep.repository.index.smallsegments import segment_of
from vmkeep.scratch import scratch_folder, writing_to

if TYPE_CHECKING:
    from vmkeep.repository.index.columns import Columns

_FANOUT = 8
"""Number of segments of one tier that are merged into one of the next."""
_LOADED = 64
"""Segments that are opened before some are merged, so that thousands are never in memory together."""
_KEPT = 16
"""Segments that were opened one by one before they are kept merged on this machine."""
_LARGE = 1 << 20
"""A segment with this many entries or more is never merged here. That takes much memory, and is left to maintenance."""
_IN_MEMORY = 1 << 18
"""A merged segment with up to this many entries (11 MiB) lives in memory."""
_LISTINGS = 10
"""Number of listings after which a segment that is listed and cannot be found counts as damaged."""


def segment_key(segment_id: bytes) -> str:
    """Return the blob key of an index segment."""
    return f"{INDEX}{segment_id.hex()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A segment in use, and the blobs whose entries it holds: more than one if it was merged in this process."""

    segment: Segment
    keys: frozenset[str]


class Index:
    """All segments of a repository. Thread-safe; look-ups take no lock."""

    def __init__(
        self,
        store: BlobStore,
        framer: Framer,
        *,
        cache: Path | None = None,
        fetched: Mapping[str, bytes] | None = None,
    ) -> None:
        """Load nothing yet.

        :param fetched: blobs of segments that were fetched already, by key; each is opened once without a call.
        """
        self._store = store
        self._framer = framer
        self._loader = segmentloader.SegmentLoader(store, framer, cache=cache, fetched=fetched)
        self._merged_before = None if cache is None else MergedSegments(cache.with_name("merged"), framer)
        self._lock = threading.Lock()
        self._parts: tuple[_Part, ...] = ()
        self._sizes: dict[str, int] = {}
        """The segments in the store, as far as they are known here."""
        self.rows: tuple[DisjointSegments, ...] = ()
        """The rows that a look-up asks. Segments that do not overlap form one row."""
        self._finders: tuple[Callable[[int, bytes], Location | None], ...] = ()
        self._avoided: tuple[frozenset[bytes], frozenset[tuple[bytes, int]]] = frozenset(), frozenset()
        self._avoids = False
        self.listed_until: datetime | None = None
        """The time of the youngest segment at the last refresh, by the store's clock; ``None``: there was none."""
        self.damaged: dict[str, str] = {}
        """Key → what is wrong, for segments that cannot be used. The next backup stores again what only these segments
        list, and a restore cannot find it unless the index is rebuilt from the packs."""

    def refresh(self) -> None:
        """Load the segments that were added to the store since the last call, and drop those that are gone.

        Maintenance puts merged segments before it deletes the old ones. So if a listed segment is gone when we open it,
        our listing may be too old to name its successor, and we list again.
        """
        with self._lock:
            parts, missing = self._parts, set[str]()
            for _ in range(_LISTINGS):
                cached = self._loader.cached()
                blobs = list(self._store.list(INDEX))
                found = {blob.key: blob.size for blob in blobs}
                self._loader.forget(cached - {key.removeprefix(INDEX) for key in found})
                self.damaged = {key: why for key, why in self.damaged.items() if key in found}
                parts = tuple(part for part in parts if part.keys <= found.keys())
                parts, missing = self._load(parts, found)
                if not missing:
                    break
            self._sizes = found
            self.listed_until = max((blob.modified for blob in blobs), default=None)
            self.damaged.update(dict.fromkeys(missing, "is listed, but not there"))
            self._publish(parts)

    def avoid(self, packs: frozenset[bytes] = frozenset(), frames: frozenset[tuple[bytes, int]] = frozenset()) -> None:
        """From now on prefer places outside these packs and frames (pack id, offset).

        Replaces those of an earlier call.

        Used for packs that maintenance is about to delete, and for frames with known damage. An avoided place is still
        found if there is no other.
        """
        self._avoided = packs, frames  # in one step, because other threads look meanwhile
        self._avoids = bool(packs or frames)

    @property
    def avoided(self) -> tuple[frozenset[bytes], frozenset[tuple[bytes, int]]]:
        """The packs and frames that are avoided."""
        return self._avoided

    def is_behind(self) -> bool:
        """Return whether the store has segments that are not used here. Costs one listing."""
        with self._lock:
            used = frozenset().union(*(part.keys for part in self._parts)) | self.damaged.keys()
        return any(blob.key not in used for blob in self._store.list(INDEX))

    def distrust(self, segments: Mapping[str, str]) -> None:
        """Stop looking in some segments (key → what is wrong), even if they look good when they are mapped."""
        with self._lock:
            self.damaged.update(segments)
            self._parts = tuple(part for part in self._parts if not part.keys & segments.keys())

    def avoids(self, location: Location) -> bool:
        """Return whether a place is to be avoided. For a writer, a frame there counts as not stored."""
        packs, frames = self._avoided
        return location.pack in packs or (location.pack, location.offset) in frames

    def find(self, digest: bytes) -> Location | None:
        """Return where a digest's frame is, or ``None``."""
        prefix = int.from_bytes(digest[:8], "big")
        for find in self._finders:
            if (location := find(prefix, digest)) is not None:
                return self._preferred(digest, location) if self._avoids else location
        return None

    def known(self, digest: bytes) -> bool:
        """Return whether a digest has a frame in a place that need not be avoided."""
        if self._avoids:
            location = self.find(digest)
            return location is not None and not self.avoids(location)
        prefix = int.from_bytes(digest[:8], "big")
        for row in self.rows:  # noqa: SIM110 - a generator would take as long again
            if row.holds(prefix, digest):
                return True
        return False

    def find_many(self, digests: Sequence[bytes]) -> list[Location | None]:
        """Return the result of :meth:`find` for each digest. Faster than single calls, from some tens of digests on."""
        import numpy as np

        found: list[Location | None] = [None] * len(digests)
        asked = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_SIZE)
        numbers = np.arange(len(digests))
        for row in self.rows:
            if not len(numbers):
                break
            for at, location in row.find_many(asked[numbers]):
                found[numbers[at]] = location
            numbers = np.array([number for number in numbers.tolist() if found[number] is None], np.intp)
        if self._avoids:
            return [
                location and self._preferred(digest, location) for digest, location in zip(digests, found, strict=True)
            ]
        return found

    def _preferred(self, digest: bytes, location: Location) -> Location:
        """Return a place that need not be avoided, if there is one; otherwise the given place."""
        if not self.avoids(location):
            return location
        places = (place for row in self.rows for place in row.find_all(digest))
        return next((place for place in places if not self.avoids(place)), location)

    def find_outside(self, digest: bytes, packs: frozenset[bytes]) -> Location | None:
        """Return a place outside some packs, if possible one that need not be avoided; ``None`` if there is none."""
        places = [place for row in self.rows for place in row.find_all(digest) if place.pack not in packs]
        return next((place for place in places if not self.avoids(place)), next(iter(places), None))

    def store_segment(self, packs: list[PackContents]) -> int:
        """Write the segments that make some durable packs findable, and use them from now on; return their bytes.

        It is one segment, unless that would be too large.
        """
        return sum(map(self._store_segment, _groups_that_fit(packs)))

    def _store_segment(self, packs: Sequence[PackContents]) -> int:
        content = segment_of(packs)
        key = segment_key(secrets.token_bytes(ID_SIZE))
        blob = self._framer.wrap(Kind.INDEX, content, name=key, limit=MAX_BLOB)
        self._store.put(key, blob)
        with self._lock:
            self._sizes[key] = len(blob)
            if not any(key in part.keys for part in self._parts):  # a refresh may have met it already
                part = _Part(segment=Segment(content), keys=frozenset((key,)))
                self._publish(self._tiered((*self._parts, part)))
        return len(blob)

    def stored(self) -> Iterator[tuple[str, int, Segment]]:
        """Yield key, size and content of every segment in the store, unmerged. Damaged segments are left out."""
        yield from self.open_listed([(blob.key, blob.size) for blob in self._store.list(INDEX)])

    def open_stored(self, sizes: Sequence[tuple[str, int]]) -> Iterator[tuple[str, int, Segment]]:
        """Yield those of the given segments (key, size) that are still there and not damaged."""
        of = dict(sizes)
        for at in range(0, len(sizes), _LOADED):
            for key, segment in self._loader.open_all(sizes[at : at + _LOADED]):
                if isinstance(segment, Segment):
                    yield key, of[key], segment

    def open_listed(self, sizes: Sequence[tuple[str, int]]) -> Iterator[tuple[str, int, Segment]]:
        """Yield those of the segments that the caller has just listed that are not damaged.

        One that is in use here, and was verified as a whole, is not fetched again, because a segment never changes.
        """
        of = dict(sizes)
        held = {key: part.segment for part in self._parts if len(part.keys) == 1 for key in part.keys}
        known = {key: segment for key in of if (segment := held.get(key)) and not isinstance(segment, LargeSegment)}
        yield from ((key, of[key], segment) for key, segment in known.items())
        yield from self.open_stored([(key, size) for key, size in sizes if key not in known])

    @property
    def has_gathered(self) -> bool:
        """Whether so many small segments have gathered that they are worth merging in the store. Asks no store."""
        with self._lock:
            return bool(gathered({key: size for key, size in self._sizes.items() if key not in self.damaged}))

    def is_whole(self, key: str, segment: Segment) -> bool:
        """Return whether every byte of a segment is as written. Opening a large segment does not read them all."""
        return self._loader.is_whole(key, segment)

    def put(self, columns: Columns) -> int:
        """Store entries without using them here; the next refresh finds them. Return the bytes.

        They make one segment, unless that would be too large.
        """
        entries = len(columns.prefixes)
        if entries < 2 or fits(entries, len(columns.kinds)):
            return self._put(columns)
        half = entries // 2
        return self.put(columns.where(slice(None, half))) + self.put(columns.where(slice(half, None)))

    def _put(self, columns: Columns) -> int:
        from vmkeep.repository.index.columns import encode_parts

        content = bytearray()
        for column in encode_parts([columns]):
            content += column
        key = segment_key(secrets.token_bytes(ID_SIZE))
        box = self._framer.box(key)
        packed = Packed(Kind.INDEX, self._framer.digester.of(Kind.INDEX, content), len(content), Codec.NONE, content)
        blob = memoryview(own_memory(box.frame_length(packed)))  # its pages go back at once when it is done
        length = box.write(packed, blob)
        self._store.put(key, blob)
        return length

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments that are asked, largest first.

        One of them may be the merge of several small ones in the store.
        """
        return tuple(part.segment for part in self._parts)

    def columns(self) -> Iterator[Columns]:
        """Yield the entries of every segment."""
        for segment in self.segments:
            if segment.entries:
                yield segment.columns()

    @property
    def entries(self) -> int:
        """Number of entries. A block that is stored twice counts twice."""
        return sum(part.segment.entries for part in self._parts)

    def _publish(self, parts: Iterable[_Part]) -> None:
        self._parts = tuple(sorted(parts, key=lambda part: -part.segment.entries))
        self.rows = tuple(disjoint_lists(self.segments))
        self._finders = tuple(row.finder for row in self.rows)

    def _load(self, parts: tuple[_Part, ...], found: dict[str, int]) -> tuple[tuple[_Part, ...], set[str]]:
        """Add the segments that are new in the store. Return the parts, and the keys of segments that were gone."""
        parts = parts or self._merged_ones(found)
        used = frozenset().union(*(part.keys for part in parts))
        fresh = [key for key in found if key not in used and key not in self.damaged]
        gone = set()
        for at in range(0, len(fresh), _LOADED):
            opened = []
            for key, segment in self._loader.open_all([(key, found[key]) for key in fresh[at : at + _LOADED]]):
                if isinstance(segment, Segment):
                    opened.append(_Part(segment=segment, keys=frozenset((key,))))
                elif isinstance(segment, BlobNotFoundError):
                    gone.add(key)
                else:
                    self.damaged[key] = str(segment)
            parts = self._tiered((*parts, *opened))
        if len(fresh) >= _KEPT:
            self._keep_merged(parts)
        return parts, gone

    def _merged_ones(self, found: dict[str, int]) -> tuple[_Part, ...]:
        """Return the segments that a process on this machine has merged before, unless one of them may not be used."""
        if self._merged_before is None or (merged := self._merged_before.load()) is None:
            return ()
        segment, keys = merged
        return (_Part(segment=segment, keys=keys),) if keys <= found.keys() - self.damaged.keys() else ()

    def _keep_merged(self, parts: tuple[_Part, ...]) -> None:
        """Merge the small segments for the processes that come later, as many as fit into memory."""
        small, entries = [], 0
        for part in sorted(parts, key=lambda part: part.segment.entries):
            entries += part.segment.entries
            if entries > _IN_MEMORY:
                break
            small.append(part)
        saved = sum(len(part.keys) for part in small)
        if self._merged_before is not None and saved > max((len(part.keys) for part in parts), default=0):
            merged = self._merged(small)
            self._merged_before.store(merged.segment, merged.keys)

    def _tiered(self, parts: tuple[_Part, ...]) -> tuple[_Part, ...]:
        """Merge the segments that have gathered in each tier, smallest first."""
        tiers: dict[int, list[_Part]] = {}
        large = [part for part in parts if part.segment.entries >= _LARGE]
        for part in parts:
            if part.segment.entries < _LARGE:
                tiers.setdefault(_tier(part.segment.entries), []).append(part)
        for tier in range(_tier(_LARGE) + 1):
            members = tiers.get(tier, [])
            if len(members) >= _FANOUT:
                merged = self._merged(members)
                tiers[tier] = []
                tiers.setdefault(_tier(merged.segment.entries), []).append(merged)
        return (*large, *(part for members in tiers.values() for part in members))

    def _merged(self, members: list[_Part]) -> _Part:
        from vmkeep.repository.index.columns import encode, encode_parts

        parts = [member.segment.columns() for member in members]
        keys = frozenset().union(*(member.keys for member in members))
        if sum(member.segment.entries for member in members) <= _IN_MEMORY:
            return _Part(segment=Segment(encode(*parts)), keys=keys)
        with writing_to(scratch_folder()), tempfile.TemporaryFile() as file:
            for column in encode_parts(parts):
                file.write(column)
            file.flush()
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return _Part(segment=Segment(content), keys=keys)


def _groups_that_fit(packs: Sequence[PackContents]) -> Iterator[Sequence[PackContents]]:
    """Split packs into groups of which each fits into one segment. A single pack always does."""
    if len(packs) < 2 or fits(sum(pack.count for pack in packs), len(packs)):
        yield packs
        return
    half = len(packs) // 2
    yield from _groups_that_fit(packs[:half])
    yield from _groups_that_fit(packs[half:])


def _tier(entries: int) -> int:
    return max(0, entries.bit_length() - 1) // 3
