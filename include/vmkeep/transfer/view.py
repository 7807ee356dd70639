"""Reads stored disks at any place, by many threads at once, with one cache for all of them.

Nothing is read before it is asked for: not the whole map, and no block twice at the same time. Blocks that a caller
reads on and on are fetched ahead of it by a few threads. Every block's digest is checked before anybody gets a byte.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Final

from vmkeep.errors import CorruptError, VmKeepError
from vmkeep.model.extents import Extent
from vmkeep.model.prints import ZEROS, Print, Prints
from vmkeep.repository import ZERO, Batch, BlockReader, DiskMap, Kind, ReadBuffers, Repository, Wanted
from vmkeep.transfer.block_cache import BlockCache
from vmkeep.transfer.read_ahead import ReadAhead

CACHE_SIZE: Final = 256 << 20
"""Bytes of blocks that all disks of one point keep, unless the caller says otherwise."""
_AT_ONCE: Final = 8 << 20
"""Bytes of blocks that one call gathers before it copies them."""
_AHEAD: Final = 8 << 20
"""Most bytes that are fetched ahead of one stream."""
_FEW: Final = 16
"""Blocks that are found faster one by one than by a walk over whole pages."""
_WALKED: Final = 4096
"""Blocks of a map that are looked at before others may use the map."""


@contextmanager
def open_views(repository: Repository, *, cache_size: int = CACHE_SIZE) -> Iterator[DiskViews]:
    """Open disks of one repository to be read at any place, until the context is left.

    :param cache_size: bytes of the blocks that stay in memory, for all disks together.
    """
    views = DiskViews(repository, cache_size=cache_size)
    try:
        yield views
    finally:
        views.close()


class _OwnBlocks(ReadBuffers):
    """The buffers of one fetching thread. It unpacks each block into memory of its own, which the cache keeps."""

    def room_for(self, frame: Wanted) -> memoryview:
        """Return new memory for a block."""
        return memoryview(bytearray(frame.raw_length))


class DiskViews:
    """Disks of one repository that share a cache and the threads that fetch blocks. Thread-safe."""

    def __init__(self, repository: Repository, *, cache_size: int) -> None:
        """Prepare; see :func:`open_views`."""
        self._repository = repository
        self._blocks: BlockReader = repository.open_blocks()
        self.cache = BlockCache(cache_size)
        width = self._blocks.width
        self._pool = ThreadPoolExecutor(width, thread_name_prefix="view")
        self._scratches: queue.LifoQueue[_OwnBlocks] = queue.LifoQueue()
        for _ in range(2 * width):  # more threads than that do not fetch at the same time, so that memory is bounded
            self._scratches.put(_OwnBlocks())

    def open(self, root: str, *, what: str) -> DiskView:
        """Return a disk. Reads the root of its map only, whatever its size.

        :param root: root of the disk's map.
        :param what: the disk's name in errors, e.g. ``restore point vm/…, Hard disk 1``.
        :raises CorruptError: the root is lost or damaged.
        """
        return DiskView(self, self._repository.open_map(root, what=what), what=what)

    def close(self) -> None:
        """Stop the threads. Nothing can be read any more."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.cache.fail_all()

    def load(self, blocks: Mapping[int, bytes], view: DiskView) -> dict[bytes, memoryview]:
        """Return the contents of some blocks of a disk by digest, from the cache or from the repository.

        :param blocks: digest by block number.
        :raises CorruptError: a block is lost or damaged. The message names the disk and the byte.
        """
        places: dict[bytes, int] = {}
        for block, digest in blocks.items():
            places.setdefault(digest, block)
        found: dict[bytes, memoryview] = {}
        missing = list(places)
        while missing:
            claimed = self.cache.claim(missing)
            found |= claimed.held
            if claimed.ours:
                found |= self._fetch({digest: places[digest] for digest in claimed.ours}, view)
            for digest, flight in claimed.flights.items():
                if (content := flight.wait()) is not None:
                    found[digest] = content
            missing = [digest for digest in missing if digest not in found]
        return found

    def fetch_ahead(self, blocks: Mapping[int, bytes], view: DiskView) -> None:
        """Begin to fetch blocks into the cache. An error is left to the one who wants the block."""
        places = {digest: block for block, digest in blocks.items()}
        ours = self.cache.claim_missing(places)
        try:
            for batch in self._plan({digest: places[digest] for digest in ours}, view):
                self._pool.submit(self._fill_quietly, batch)
        except (VmKeepError, RuntimeError):  # a block is not in the index, or the pool is closed
            self.cache.fail(ours)

    def _fetch(self, places: Mapping[bytes, int], view: DiskView) -> dict[bytes, memoryview]:
        """Fetch blocks that this thread has claimed: several requests at once, one of them by this thread."""
        try:
            batches = self._plan(places, view)
            others = [self._pool.submit(self._fill, batch) for batch in batches[1:]]
            outcome = self._fill(batches[0])
            for other in others:
                outcome |= other.result()
        except BaseException:
            self.cache.fail(places)
            raise
        found: dict[bytes, memoryview] = {}
        for digest, block in sorted(places.items(), key=lambda place: place[1]):
            content = outcome[digest]
            if isinstance(content, CorruptError):
                raise view.damage(block, content) from content
            found[digest] = content
        return found

    def _plan(self, places: Mapping[bytes, int], view: DiskView) -> list[Batch]:
        wanted = []
        for digest, block in places.items():
            try:
                location = self._blocks.locate(Kind.BLOCK, digest)
            except CorruptError as error:
                raise view.damage(block, error) from error
            wanted.append(Wanted(digest, location, view.block_length(block), (block,)))
        return self._blocks.plan(wanted)

    def _fill(self, batch: Batch) -> dict[bytes, memoryview | CorruptError]:
        """Read the blocks of a batch into the cache. Return each with its content, or with the error of its own."""
        scratch = self._scratches.get()
        try:
            return self._read(batch, scratch)
        except BaseException:
            self.cache.fail(frame.digest for frame in batch.frames)
            raise
        finally:
            self._scratches.put(scratch)

    def _fill_quietly(self, batch: Batch) -> None:
        try:
            self._fill(batch)
        except VmKeepError:
            return  # the one who wants the block tries again, and gets the error

    def _read(self, batch: Batch, scratch: _OwnBlocks) -> dict[bytes, memoryview | CorruptError]:
        outcome: dict[bytes, memoryview | CorruptError] = {}
        try:
            for frame, content in self._blocks.read(batch, scratch):
                outcome[frame.digest] = kept = content.toreadonly()
                self.cache.land(frame.digest, kept)
        except CorruptError as error:
            left = [frame for frame in batch.frames if frame.digest not in outcome]
            if len(left) == 1:
                outcome[left[0].digest] = error
                self.cache.fail([left[0].digest])
            else:
                for frame in left:  # each by itself, so that the damage of one is not the others'
                    outcome |= self._read(self._blocks.plan([frame])[0], scratch)
        return outcome


class DiskView:
    """A stored disk that can be read at any place; a :class:`~vmkeep.model.blockio.RandomDisk`. Thread-safe."""

    def __init__(self, views: DiskViews, disk: DiskMap, *, what: str) -> None:
        """Name the disk; see :meth:`DiskViews.open`."""
        self.what = what
        self._views = views
        self._disk = disk
        self._size = disk.block_size
        self._ahead = ReadAhead(disk, most=min(_AHEAD, views.cache.size // 8) // self._size)
        self._zeros = memoryview(bytes(self._size))
        self._lock = threading.Lock()
        """Guards the map and the streams."""

    @property
    def capacity(self) -> int:
        """Size of the disk in bytes."""
        return self._disk.capacity

    def block_length(self, block: int) -> int:
        """Return the length of a block in bytes."""
        return self._disk.shape.block_length(block)

    def damage(self, block: int, error: CorruptError) -> CorruptError:
        """Return an error that names the disk and the byte at which a damaged block begins."""
        return CorruptError(f"{self.what}, byte {block * self._size}: {error}")

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes from an offset on; zeros cost no request.

        :raises CorruptError: a block or a page of the map is lost or damaged. The message names disk and byte.
        :raises ValueError: the range reaches beyond the disk.
        """
        stop = start + len(buffer)
        if start < 0 or stop > self.capacity:
            raise ValueError(f"{self.what}: bytes {start} to {stop} are not on a disk of {self.capacity} bytes")
        at = start
        while at < stop:
            end = min(stop, (at // self._size + max(1, _AT_ONCE // self._size)) * self._size)
            self._read_blocks(at, buffer[at - start : end - start])
            at = end

    def extents(self, start: int, stop: int) -> Iterator[tuple[Extent, bool]]:
        """Yield the neighbouring extents that cover a range, in order; true: it may hold data, false: only zeros.

        Reads pages of the map only, and few of them where a disk is empty.

        :raises CorruptError: a page of the map is lost or damaged.
        :raises ValueError: the range reaches beyond the disk.
        """
        if not 0 <= start <= stop <= self.capacity:
            raise ValueError(f"{self.what}: bytes {start} to {stop} are not on a disk of {self.capacity} bytes")
        begin = at = start
        for block in self._stored(start // self._size, -(-stop // self._size)):
            data = max(start, block * self._size)
            if data > at:
                if at > begin:
                    yield Extent(begin, at), True
                yield Extent(at, data), False
                begin = data
            at = min(stop, (block + 1) * self._size)
        if at > begin:
            yield Extent(begin, at), True
        if stop > at:
            yield Extent(at, stop), False

    def prints(self, start: int, stop: int) -> Prints:
        """Yield the neighbouring extents that cover a range, in order, each with its print: one for each block.

        Reads pages of the map only.

        :raises CorruptError: a page of the map is lost or damaged.
        :raises ValueError: the range reaches beyond the disk.
        """
        if not 0 <= start <= stop <= self.capacity:
            raise ValueError(f"{self.what}: bytes {start} to {stop} are not on a disk of {self.capacity} bytes")
        first, last = start // self._size, -(-stop // self._size)
        for some in range(first, last, _WALKED):
            with self._lock:
                digests = self._digests(some, min(last, some + _WALKED))
            for block in range(some, min(last, some + _WALKED)):
                begin, end = max(start, block * self._size), min(stop, (block + 1) * self._size)
                digest = digests.get(block)
                yield Extent(begin, end), ZEROS if digest is None else Print(digest, begin - block * self._size)

    def _stored(self, first: int, stop: int) -> Iterator[int]:
        """Yield the numbers of the stored blocks in a range. Others may use the map meanwhile."""
        while True:
            with self._lock:
                some = [block for block, _ in islice(self._walk(first, stop), _WALKED)]
            yield from some
            if len(some) < _WALKED:
                return
            first = some[-1] + 1

    def _read_blocks(self, start: int, buffer: memoryview) -> None:
        first, stop = start // self._size, -(-(start + len(buffer)) // self._size)
        with self._lock:
            blocks = self._digests(first, stop)
            ahead = dict(self._named(first, stop))
        if ahead:
            self._views.fetch_ahead(ahead, self)
        contents = self._views.load(blocks, self) if blocks else {}
        for block in range(first, stop):
            begin = max(start, block * self._size)
            end = min(start + len(buffer), (block + 1) * self._size)
            part = buffer[begin - start : end - start]
            if (digest := blocks.get(block)) is None:
                part[:] = self._zeros[: len(part)]
            else:
                offset = begin - block * self._size
                part[:] = contents[digest][offset : offset + len(part)]

    def _digests(self, first: int, stop: int) -> dict[int, bytes]:
        """Return the digests of the stored blocks in a range, by number."""
        if stop - first > _FEW:
            return dict(self._walk(first, stop))
        found = {}
        for block in range(first, stop):
            try:
                digest = self._disk.lookup(block)
            except CorruptError as error:
                raise self.damage(block, error) from error
            if digest != ZERO:
                found[block] = digest
        return found

    def _walk(self, first: int, stop: int) -> Iterator[tuple[int, bytes]]:
        try:
            yield from self._disk.blocks(first, stop)
        except CorruptError as error:
            raise CorruptError(f"{self.what}, {error}") from error

    def _named(self, first: int, stop: int) -> list[tuple[int, bytes]]:
        try:
            return self._ahead.after(first, stop)
        except CorruptError:
            return []  # the one who reads there gets the error
