"""Opens a virtual disk through VDDK as the source or target of a transfer (:mod:`vmkeep.model.blockio`).

Callers count in bytes; the library counts in sectors. Two threads call the library for a disk. The opener, which all
disks of the process share, opens, asks for allocated blocks and closes. The disk's own thread moves data. Every wait
has a deadline. A library that keeps memory beyond the deadline is marked *lost*. Then nothing is closed, because
closing would hang too, and the process has to end.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Final, TypeVar

from vmkeep.errors import DeadlineError, UnsupportedError, UsageError, VmKeepError
from vmkeep.model.extents import Extent, Extents
from vmkeep.vddk import allocation
from vmkeep.vddk.buffers import BufferPool, address_of
from vmkeep.vddk.codes import NOT_SUPPORTED, make_error
from vmkeep.vddk.diskaddress import DiskAddress
from vmkeep.vddk.diskreader import VddkReader
from vmkeep.vddk.handle import Handle, open_handle
from vmkeep.vddk.library import Library
from vmkeep.vddk.ownerthread import OwnerThread
from vmkeep.vddk.pendingcalls import Latch, await_all
from vmkeep.vddk.structures import SECTOR
from vmkeep.vddk.timeouts import Patience

_log = logging.getLogger(__name__)

_ZEROES: Final = bytes(1 << 20)
_PATIENCE: Final = Patience()

_abandoned: list[object] = []

T = TypeVar("T")
D = TypeVar("D", bound="VddkDisk")


class VddkDisk:
    """The common part of source and target: an open handle, and the threads that make its calls."""

    def __init__(self, handle: Handle, opener: OwnerThread, owner: OwnerThread, *, patience: Patience) -> None:
        self._handle = handle
        self._opener = opener
        self._owner = owner
        self._patience = patience

    @property
    def capacity(self) -> int:
        """Size of the disk in bytes."""
        return self._handle.sectors * SECTOR

    @property
    def transport(self) -> str:
        """The transport mode that the library chose, e.g. ``nbdssl`` or ``file``."""
        return self._handle.transport

    @property
    def title(self) -> str:
        """The disk as messages name it."""
        return self._handle.address.title

    def allocated(self) -> Extents | None:
        """Return the extents that may hold data; ``None``: the library cannot tell. Not to be called while reading."""
        library = self._handle.library
        if not (library.has("QueryAllocatedBlocks") and library.has("FreeBlockList")):
            return None
        sectors = self._handle.sectors
        chunk = allocation.choose_chunk(self.capacity)
        answers = (self._query(start, count, chunk) for start, count in allocation.windows(sectors, chunk))
        try:
            return allocation.to_extents(answers, sectors, chunk)
        except DeadlineError:
            raise  # because a library that hangs now would hang again
        except VmKeepError as error:
            # Reading the whole disk is slower, but never wrong.
            _log.warning("%s; reading the whole disk instead", error)
            return None

    def metadata(self) -> dict[str, str]:
        """Return the disk's metadata (``ddb`` keys)."""
        what = f"VDDK to read the metadata of {self.title}"
        return self._run(self._handle.metadata, what=what, patience=self._patience.asking)

    def _query(self, start: int, count: int, chunk: int) -> array[int]:
        what = f"VDDK to tell the allocated blocks of {self._handle.where(start, count)}"
        library, patience = self._handle.library, self._patience.asking
        # VMware demands this query on the thread that opens and closes.
        ask = partial(self._handle.query_allocated, start, count, chunk)
        return _run(library, self._opener, ask, what=what, patience=patience)

    def _run(self, call: Callable[[], T], *, what: str, patience: float) -> T:
        return _run(self._handle.library, self._owner, call, what=what, patience=patience)


class VddkSource(VddkDisk):
    """A disk to read from."""

    _reading = False

    def allocated(self) -> Extents | None:
        """Return the extents that may hold data; ``None``: the library cannot tell.

        :raises UsageError: the disk is being read.
        """
        if self._reading:
            raise UsageError(f"{self.title} is being read: its allocated blocks have to be asked for before")
        return super().allocated()

    def open_reader(
        self, extents: Sequence[Extent], *, piece_size: int, depth: int
    ) -> AbstractContextManager[VddkReader]:
        """Read ``extents`` in pieces; see :class:`vmkeep.model.blockio.DiskSource`. Only one reader may be open."""
        if piece_size <= 0 or piece_size % SECTOR or depth < 1:
            raise UsageError(f"cannot read pieces of {piece_size} bytes, {depth} at once: whole sectors, at least one")
        for extent in extents:
            if extent.start % SECTOR or extent.stop % SECTOR or extent.stop > self.capacity:
                raise UsageError(f"{self.title}: [{extent.start}, {extent.stop}) is not in whole sectors of the disk")
        if self._reading:
            raise UsageError(f"{self.title} is being read already")
        return self._reader(extents, piece_size, depth)

    @contextmanager
    def _reader(self, extents: Sequence[Extent], piece_size: int, depth: int) -> Iterator[VddkReader]:
        self._reading = True
        pool = BufferPool(piece_size)
        patience = self._patience
        reader = VddkReader(self._handle, self._owner, extents, pool, depth=depth, patience=patience.reading)
        try:
            yield reader
        finally:
            self._reading = False
            if not reader.close(patience=patience.ending_reads):
                self._handle.library.lost = True
                _log.warning("VDDK does not return from reading %s; the process has to end", self.title)


class VddkTarget(VddkDisk):
    """A disk to write to. Many threads may call ``write`` and ``write_zeroes``."""

    _written = False

    def allocated(self) -> Extents | None:
        """Return the extents that may hold data now; ``None``: not known, as after every write."""
        return None if self._written else super().allocated()

    def write(self, start: int, data: memoryview) -> None:
        """Write whole sectors at byte ``start``. On return, ``data`` may be reused."""
        length = data.nbytes
        if start % SECTOR or length % SECTOR or start + length > self.capacity:
            raise UsageError(f"{self.title}: {length} bytes at byte {start} are not whole sectors of the disk")
        if not length:
            return
        latch = Latch(self, data)
        memory = address_of(data)
        doing = f"writing {self._handle.where(start // SECTOR, length // SECTOR)}"
        begin = partial(self._begin, start // SECTOR, length // SECTOR, memory, latch)
        patience = self._patience.writing
        self._run(begin, what=f"VDDK while {doing}", patience=patience)
        if not latch.wait(patience):
            self._handle.library.lost = True
            raise DeadlineError(waiting_for=f"VDDK while {doing}", seconds=patience)
        if latch.error:
            raise make_error(latch.error, self._handle.library.error_text(latch.error), doing=doing)

    def write_zeroes(self, start: int, length: int) -> None:
        """Write zeros over whole sectors, because VDDK has no cheaper way."""
        zeroes = memoryview(_ZEROES)
        for at in range(start, start + length, len(zeroes)):
            self.write(at, zeroes[: min(len(zeroes), start + length - at)])

    def flush(self) -> None:
        """Return once all writes are durable."""

        def flush() -> None:
            self._handle.wait()
            self._handle.flush()

        self._run(flush, what=f"VDDK to flush {self.title}", patience=self._patience.writing)

    def write_metadata(self, entries: dict[str, str]) -> None:
        """Set keys of the disk's metadata (``ddb``). Call it before any data is written."""
        if entries and not self._handle.library.has("WriteMetadata"):
            raise UnsupportedError(f"{self.title}: this VDDK cannot write disk metadata")

        def write() -> None:
            for key, value in entries.items():
                self._handle.write_metadata(key, value)

        self._run(write, what=f"VDDK to write the metadata of {self.title}", patience=self._patience.writing)

    def _begin(self, start: int, count: int, memory: int, latch: Latch) -> None:
        """Begin one write. If the handle cannot write asynchronously, complete it at once."""
        self._written = True
        handle = self._handle
        if handle.can_write_async is None:
            handle.can_write_async = self._probe(start, count, memory, latch)
            if handle.can_write_async:
                return
        if handle.can_write_async:
            error = handle.write_async(start, count, memory, latch)
            if error:
                latch.settle(error)
            return
        try:
            handle.write(start, count, memory)
        finally:
            latch.settle(0)

    def _probe(self, start: int, count: int, memory: int, latch: Latch) -> bool:
        """Find out by a single write whether the handle writes asynchronously, because the two ways must not mix."""
        probe = Latch(self, latch.memory)
        error = self._handle.write_async(start, count, memory, probe)
        if not error:
            if not probe.wait(self._patience.writing):
                raise DeadlineError(waiting_for=f"VDDK's first write to {self.title}", seconds=self._patience.writing)
            error = probe.error
        if error and error & 0xFFFF == NOT_SUPPORTED:
            return False
        latch.settle(error)
        return True


@contextmanager
def open_source(
    library: Library, opener: OwnerThread, address: DiskAddress, *, patience: Patience = _PATIENCE
) -> Iterator[VddkSource]:
    """Open a disk for reading."""
    with _open(library, opener, address, VddkSource, read_only=True, patience=patience) as source:
        yield source


@contextmanager
def open_target(
    library: Library, opener: OwnerThread, address: DiskAddress, *, patience: Patience = _PATIENCE
) -> Iterator[VddkTarget]:
    """Open a disk for writing. Call ``flush`` before leaving, because leaving makes nothing durable."""
    with _open(library, opener, address, VddkTarget, read_only=False, patience=patience) as target:
        yield target


@contextmanager
def _open(
    library: Library, opener: OwnerThread, address: DiskAddress, kind: type[D], *, read_only: bool, patience: Patience
) -> Iterator[D]:
    opening = open_handle(library, address, read_only=read_only)
    what = f"VDDK to open {address.title}"
    handle = _run(library, opener, opening.__enter__, what=what, patience=patience.opening)
    owner = OwnerThread(f"vddk {address.path}")
    disk = kind(handle, opener, owner, patience=patience)
    try:
        yield disk
    finally:
        settled = await_all(disk, patience.ending_reads if read_only else patience.writing)
        library.lost = library.lost or not settled
        if not library.lost:
            owner.close(patience=patience.closing)
        _close(library, address, opening, opener, patience=patience.closing)


def _close(
    library: Library,
    address: DiskAddress,
    opening: AbstractContextManager[Handle],
    opener: OwnerThread,
    *,
    patience: float,
) -> None:
    """Close the disk on the thread that opened it, unless the library is lost."""
    if library.lost:
        _abandoned.append(opening)  # because the garbage collector would close it, on any thread
        _log.warning("not closing %s: VDDK still holds on to it; the process has to end", address.title)
        return
    try:
        what = f"VDDK to close {address.title}"
        _run(library, opener, lambda: opening.__exit__(None, None, None), what=what, patience=patience)
    except DeadlineError as error:
        _log.warning("%s", error)


def _run(library: Library, owner: OwnerThread, call: Callable[[], T], *, what: str, patience: float) -> T:
    """Make a call on its thread. A call that does not return in time marks the library as lost."""
    try:
        return owner.run(call, what=what, patience=patience)
    except DeadlineError:
        library.lost = True
        raise
