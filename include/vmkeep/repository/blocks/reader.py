"""Reads blocks and map pages by their digests: finds them in the index, and reads them in the order of packs.

Callers get only content that matches the digest they asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from vmkeep.blobs import BlobStore, is_remote
from vmkeep.errors import BlobNotFoundError, CorruptBlockError, CorruptError
from vmkeep.lateclass import dataclass
from vmkeep.model.wording import agreeing, counted
from vmkeep.ownmemory import own_memory
from vmkeep.repository.frames import HEADER_SIZE, Box, Framer, Kind, pack_key, parse_header
from vmkeep.repository.index import Index, Location

_READ = 4 << 20
"""Bytes up to which neighbouring frames are read together."""
_GAP = 64 << 10
"""Gap between two frames up to which one read of both is cheaper than two reads."""
_LARGE = 128 << 10
"""Bytes from which a buffer is worth the calls that map and unmap it."""
_MANY = 12288
"""Number of digests from which a joint look-up repays loading numpy."""
_REMOTE_READS = 12
"""Requests in flight if each is a round trip. They fetch 48 MiB, enough for 1 GB/s with a latency of 50 ms."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A frame that is to be read."""

    digest: bytes
    location: Location
    raw_length: int
    """The number of bytes that the frame must hold. The reader refuses any other number."""
    places: tuple[int, ...]
    """Numbers for the caller's own use, for example the offsets on a disk."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames of one pack that are read by one request."""

    pack: bytes
    start: int
    stop: int
    frames: tuple[Wanted, ...]
    """In the order of their places, so that a caller gets neighbours one after the other."""

    @property
    def key(self) -> str:
        """Blob key of the pack."""
        return pack_key(self.pack)


class ReadBuffers:
    """The buffers of one reading thread, which it reuses."""

    def __init__(self) -> None:
        self._buffers = [memoryview(b""), memoryview(b"")]

    def take(self, which: int, size: int) -> memoryview:
        """Return buffer 0 (stored bytes) or 1 (raw bytes) with at least ``size`` bytes."""
        if len(self._buffers[which]) < size:
            room = max(size, 2 * len(self._buffers[which]))
            # Python fills a bytearray with zeros, so that the kernel has to find memory for all of it.
            self._buffers[which] = memoryview(bytearray(room) if room < _LARGE else own_memory(room))
        return self._buffers[which]

    def room_for(self, frame: Wanted) -> memoryview:
        """Return the memory into which a frame's content is unpacked, with at least its raw length."""
        return self.take(1, frame.raw_length)


class BlockReader:
    """Reads frames of one repository. Thread-safe, if every thread passes its own :class:`ReadBuffers`."""

    def __init__(self, store: BlobStore, framer: Framer, index: Index) -> None:
        self._store = store
        self._framer = framer
        self._index = index

    @property
    def width(self) -> int:
        """The best number of threads to read with; each also checks and decompresses."""
        return _REMOTE_READS if is_remote(self._store) else (os.cpu_count() or 1) + 1

    def locate(self, kind: Kind, digest: bytes) -> Location:
        """Return the place of a frame.

        :raises CorruptError: the frame is not in the index.
        """
        location = self._index.find(digest)
        if location is None:
            self._index.refresh()  # another process may have stored the frame after the index was loaded
            location = self._index.find(digest)
        return self._of_kind(kind, digest, location)

    def locate_many(self, kind: Kind, digests: Sequence[bytes]) -> list[Location]:
        """Return the places of some frames; see :meth:`locate`."""
        found = self._index.find_many(digests) if len(digests) >= _MANY else list(map(self._index.find, digests))
        if None in found:
            return [self.locate(kind, digest) for digest in digests]
        return [self._of_kind(kind, digest, place) for digest, place in zip(digests, found, strict=True)]

    def _of_kind(self, kind: Kind, digest: bytes, location: Location | None) -> Location:
        if location is None or location.kind is not kind:
            damaged = len(self._index.damaged)
            verb = agreeing(damaged, "is", "are")
            hint = f"; {counted(damaged, 'index segment')} {verb} damaged" if damaged else ""
            what = "block" if kind is Kind.BLOCK else "map page"
            raise CorruptError(f"{what} {digest.hex()[:16]}… is not in the index{hint}; run 'vmkeep repo check'")
        return location

    def plan(self, wanted: Iterable[Wanted]) -> list[Batch]:
        """Return the reads that fetch some frames, in the order of packs."""
        batches: list[Batch] = []
        group: list[Wanted] = []
        stop = 0
        for frame in sorted(wanted, key=lambda w: (w.location.pack, w.location.offset)):
            place = frame.location
            if group and (
                place.pack != group[0].location.pack
                or place.offset - stop > _GAP
                or place.offset + place.length - group[0].location.offset > _READ
            ):
                batches.append(_batch(group))
                group = []
            group.append(frame)
            stop = place.offset + place.length
        if group:
            batches.append(_batch(group))
        return batches

    def read(
        self, batch: Batch, scratch: ReadBuffers, *, gone: frozenset[bytes] = frozenset()
    ) -> Iterator[tuple[Wanted, memoryview]]:
        """Yield each frame with its content, after checking its digest. The content's view is valid for one step.

        :param gone: packs that are known to be gone.
        :raises CorruptBlockError: a frame is missing, is damaged, or is not the one that the index names.
        """
        view = scratch.take(0, batch.stop - batch.start)[: batch.stop - batch.start]
        try:
            count = self._store.get_into(batch.key, batch.start, view)
        except BlobNotFoundError as error:
            gone |= {batch.pack}
            for moved in self.plan(self._moved(batch, gone, error)):
                yield from self.read(moved, scratch, gone=gone)
            return
        box = self._framer.box(batch.key)
        for frame in batch.frames:
            at = frame.location.offset - batch.start
            stored = view[at : at + frame.location.length]
            if at + frame.location.length > count:
                raise CorruptBlockError(
                    pack=batch.pack.hex(), offset=frame.location.offset, why="is cut off: the pack is too short"
                )
            yield frame, self._unpack(box, frame, stored, scratch)

    def _moved(self, batch: Batch, gone: frozenset[bytes], error: BlobNotFoundError) -> list[Wanted]:
        """Find the frames of a pack that is gone, because maintenance may have moved them to another pack."""
        self._index.refresh()
        moved = []
        for frame in batch.frames:
            location = self._index.find_outside(frame.digest, gone)
            if location is None:
                offset = frame.location.offset
                raise CorruptBlockError(pack=batch.pack.hex(), offset=offset, why="is lost: no such pack") from error
            moved.append(replace(frame, location=location))
        return moved

    def _unpack(self, box: Box, frame: Wanted, stored: memoryview, scratch: ReadBuffers) -> memoryview:
        try:
            header = parse_header(stored)
            if header.digest != frame.digest or header.frame_length != len(stored):
                raise CorruptError("is not the one that the index says")
            if header.kind is not frame.location.kind or header.raw_length != frame.raw_length:
                raise CorruptError(f"holds {header.raw_length} bytes instead of {frame.raw_length}")
            return box.unpack_into(header, stored[HEADER_SIZE:], scratch.room_for(frame))
        except CorruptError as error:
            raise CorruptBlockError(
                pack=frame.location.pack.hex(), offset=frame.location.offset, why=f"is damaged: {error}"
            ) from error

    def get_pages(self, digests: Sequence[bytes], *, size: int) -> dict[bytes, bytes]:
        """Return map pages by digest. All have ``size`` bytes."""
        wanted = [Wanted(digest, self.locate(Kind.PAGE, digest), size, ()) for digest in dict.fromkeys(digests)]
        scratch = ReadBuffers()
        return {
            frame.digest: bytes(content) for batch in self.plan(wanted) for frame, content in self.read(batch, scratch)
        }


def _batch(frames: list[Wanted]) -> Batch:
    first, last = frames[0].location, frames[-1].location
    by_place = sorted(frames, key=lambda frame: frame.places)
    return Batch(first.pack, first.offset, last.offset + last.length, tuple(by_place))
