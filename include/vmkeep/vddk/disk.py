"""A virtual disk through VDDK, as the source or the target of a transfer (:mod:`vmkeep.model.blockio`).

Bytes outside, sectors inside. Waits carry a deadline; a library that keeps memory beyond it marks the library
*lost*: nothing is closed then, because that would hang too, and the process has to end.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final, TypeVar

from vmkeep.errors import DeadlineError, UnsupportedError, UsageError, VmKeepError
from vmkeep.model.extents import Extent, Extents
from vmkeep.vddk import allocation
from vmkeep.vddk.address import DiskAddress
from vmkeep.vddk.buffers import BufferPool, address_of
from vmkeep.vddk.codes import NOT_SUPPORTED, make_error
from vmkeep.vddk.completions import Latch, await_all
from vmkeep.vddk.handle import Handle, open_handle
from vmkeep.vddk.library import Library
from vmkeep.vddk.owner import Owner
from vmkeep.vddk.reader import VddkReader
from vmkeep.vddk.structures import SECTOR

_log = logging.getLogger(__name__)

PATIENCE: Final = 600.0
"""Seconds without any sign of the library after which a wait gives up; VDDK's own network time-outs are shorter."""
_CLOSING: Final = 90.0
"""Seconds for requests in flight to end, and for Close: longer than VDDK's own time-out of a read."""
_ZEROES: Final = bytes(1 << 20)

_abandoned: list[object] = []

T = TypeVar("T")
D = TypeVar("D", bound="VddkDisk")


class VddkDisk:
    """What source and target share: an open handle and the thread that owns it."""

    def __init__(self, handle: Handle, owner: Owner, *, patience: float) -> None:
        self._handle = handle
        self._owner = owner
        self._patience = patience

    @property
    def capacity(self) -> int:
        """Bytes."""
        return self._handle.sectors * SECTOR

    @property
    def transport(self) -> str:
        """The transport mode that was really used, e.g. ``nbdssl`` or ``file``."""
        return self._handle.transport

    @property
    def title(self) -> str:
        """The disk as messages name it."""
        return self._handle.address.title

    def allocated(self) -> Extents | None:
        """Return the extents that may hold data, or ``None`` where the library cannot tell. Not while reading."""
        library = self._handle.library
        if not (library.has("QueryAllocatedBlocks") and library.has("FreeBlockList")):
            return None
        sectors = self._handle.sectors
        chunk = allocation.choose_chunk(self.capacity)
        answers = (self._query(start, count, chunk) for start, count in allocation.windows(sectors, chunk))
        try:
            return allocation.to_extents(answers, sectors, chunk)
        except DeadlineError:
            raise  # a library that hangs now would hang again
        except VmKeepError as error:
            # Reading everything is slower and never wrong.
            _log.warning("%s; reading the whole disk instead", error)
            return None

    def metadata(self) -> dict[str, str]:
        """Return the disk's metadata (``ddb`` keys)."""
        return self._run(self._handle.metadata, what=f"VDDK to read the metadata of {self.title}")

    def _query(self, start: int, count: int, chunk: int) -> array[int]:
        what = f"VDDK to tell the allocated blocks of {self._handle.where(start, count)}"
        return self._run(lambda: self._handle.query_allocated(start, count, chunk), what=what)

    def _run(self, call: Callable[[], T], *, what: str) -> T:
        return _run(self._handle.library, self._owner, call, what=what, patience=self._patience)


class VddkSource(VddkDisk):
    """A disk that is read."""

    _reading = False

    def open_reader(
        self, extents: Sequence[Extent], *, piece_size: int, depth: int
    ) -> AbstractContextManager[VddkReader]:
        """Read ``extents`` in pieces; see :class:`vmkeep.model.blockio.DiskSource`. One reader at a time."""
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
        reader = VddkReader(self._handle, self._owner, extents, pool, depth=depth, patience=self._patience)
        try:
            yield reader
        finally:
            self._reading = False
            if not reader.close(patience=min(self._patience, _CLOSING)):
                self._handle.library.lost = True
                _log.warning("VDDK does not return from reading %s; the process has to end", self.title)


class VddkTarget(VddkDisk):
    """A disk that is written. ``write`` and ``write_zeroes`` may be called from many threads."""

    _written = False

    def allocated(self) -> Extents | None:
        """Return the extents that may hold data now; ``None`` also after a write, when answers would be stale."""
        return None if self._written else super().allocated()

    def write(self, start: int, data: memoryview) -> None:
        """Write whole sectors at byte ``start``; return when ``data`` may be reused."""
        length = data.nbytes
        if start % SECTOR or length % SECTOR or start + length > self.capacity:
            raise UsageError(f"{self.title}: {length} bytes at byte {start} are not whole sectors of the disk")
        if not length:
            return
        latch = Latch(self, data)
        memory = address_of(data)
        doing = f"writing {self._handle.where(start // SECTOR, length // SECTOR)}"
        self._run(lambda: self._begin(start // SECTOR, length // SECTOR, memory, latch), what=f"VDDK while {doing}")
        if not latch.wait(self._patience):
            self._handle.library.lost = True
            raise DeadlineError(waiting_for=f"VDDK while {doing}", seconds=self._patience)
        if latch.error:
            raise make_error(latch.error, self._handle.library.error_text(latch.error), doing=doing)

    def write_zeroes(self, start: int, length: int) -> None:
        """Write zeros over whole sectors; VDDK has no cheaper way."""
        zeroes = memoryview(_ZEROES)
        for at in range(start, start + length, len(zeroes)):
            self.write(at, zeroes[: min(len(zeroes), start + length - at)])

    def flush(self) -> None:
        """Return once everything written is durable."""

        def flush() -> None:
            self._handle.wait()
            self._handle.flush()

        self._run(flush, what=f"VDDK to flush {self.title}")

    def write_metadata(self, entries: dict[str, str]) -> None:
        """Set keys of the disk's metadata (``ddb``), before any data."""
        if entries and not self._handle.library.has("WriteMetadata"):
            raise UnsupportedError(f"{self.title}: this VDDK cannot write disk metadata")

        def write() -> None:
            for key, value in entries.items():
                self._handle.write_metadata(key, value)

        self._run(write, what=f"VDDK to write the metadata of {self.title}")

    def _begin(self, start: int, count: int, memory: int, latch: Latch) -> None:
        """Begin one write, or make it at once where the handle does not write asynchronously."""
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
        """Make the first write alone, to find out whether the handle does it at all: the two ways must never mix."""
        probe = Latch(self, latch.memory)
        error = self._handle.write_async(start, count, memory, probe)
        if not error:
            if not probe.wait(self._patience):
                raise DeadlineError(waiting_for=f"VDDK's first write to {self.title}", seconds=self._patience)
            error = probe.error
        if error and error & 0xFFFF == NOT_SUPPORTED:
            return False
        latch.settle(error)
        return True


@contextmanager
def open_source(library: Library, address: DiskAddress, *, patience: float = PATIENCE) -> Iterator[VddkSource]:
    """Open a disk for reading."""
    with _open(library, address, VddkSource, read_only=True, patience=patience) as source:
        yield source


@contextmanager
def open_target(library: Library, address: DiskAddress, *, patience: float = PATIENCE) -> Iterator[VddkTarget]:
    """Open a disk for writing. ``flush`` before leaving; leaving alone promises nothing."""
    with _open(library, address, VddkTarget, read_only=False, patience=patience) as target:
        yield target


@contextmanager
def _open(library: Library, address: DiskAddress, kind: type[D], *, read_only: bool, patience: float) -> Iterator[D]:
    owner = Owner(f"vddk {address.path}")
    opening = open_handle(library, address, read_only=read_only)
    try:
        handle = _run(library, owner, opening.__enter__, what=f"VDDK to open {address.title}", patience=patience)
        disk = kind(handle, owner, patience=patience)
        try:
            yield disk
        finally:
            _close(library, address, opening, owner, disk)
    finally:
        if not library.lost:
            owner.close(patience=_CLOSING)


def _close(
    library: Library, address: DiskAddress, opening: AbstractContextManager[Handle], owner: Owner, disk: VddkDisk
) -> None:
    """Close the disk on its own thread, unless the library still holds on to it."""
    if not library.lost and not await_all(disk, _CLOSING):
        library.lost = True
    if library.lost:
        _abandoned.append(opening)  # else the garbage collector would close it, on any thread
        _log.warning("not closing %s: VDDK still holds on to it; the process has to end", address.title)
        return
    try:
        what = f"VDDK to close {address.title}"
        _run(library, owner, lambda: opening.__exit__(None, None, None), what=what, patience=_CLOSING)
    except DeadlineError as error:
        _log.warning("%s", error)


def _run(library: Library, owner: Owner, call: Callable[[], T], *, what: str, patience: float) -> T:
    """Make a call on the owner thread; one that does not come back marks the library lost."""
    try:
        return owner.run(call, what=what, patience=patience)
    except DeadlineError:
        library.lost = True
        raise
