"""Stores blocks and map pages that the repository does not have yet.

The order of writes makes a power cut harmless. Packs are durable before an index segment names them, and a point is
sealed only if the index finds all of its blocks.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from vmkeep.blobs import BlobStore, Bytes, is_remote
from vmkeep.errors import PermissionDeniedError, Recovery, StoreError, VmKeepError
from vmkeep.repository.blocks import otherwriters
from vmkeep.repository.blocks.otherwriters import OtherWriters
from vmkeep.repository.blocks.sink import PackSink, wait_for
from vmkeep.repository.frames import Framer, Kind, OpenPack, PackBuffer, PackContents, Packed
from vmkeep.repository.index import Index
from vmkeep.repository.notes import Announcements, BegunTry

log = logging.getLogger(__name__)

PACK_SIZE = 64 << 20
"""Largest pack of blocks, in bytes."""
PAGE_PACK_SIZE = 8 << 20
"""Largest pack of map pages, in bytes."""
_REMOTE_PUTS = 3
"""Packs that are stored at the same time in a remote store. They are half as large, so that memory stays the same."""


class BlockWriter:
    """The writer of one copy. Thread-safe, except :meth:`flush` and closing, which one thread calls.

    It needs no lock against other writers. Of two that have a block at the same time, one mostly leaves it to the
    other (:mod:`vmkeep.repository.blocks.otherwriters`); else it is stored twice, which does no harm.
    """

    def __init__(
        self,
        store: BlobStore,
        framer: Framer,
        index: Index,
        begun_try: BegunTry,
        *,
        refresh: Callable[[], None] | None = None,
    ) -> None:
        """Prepare.

        :param refresh: loads what is new in the index, after the packs and frames that it must avoid; ``None``: look at
            no other writer, because the caller tells the index what to avoid.
        """
        self._framer = framer
        self._begun_try = begun_try
        self._index = index
        self._changed = threading.Condition()
        self._claimed: set[bytes] = set()
        self._landing: set[bytes] = set()
        self._in_hand = 0
        self._held = False
        self._broken = False
        self._stored = 0
        self._spared = 0
        self._named = 0
        self._landed: list[PackContents] = []
        self._unasked: list[bytes] = []
        """Packs that the index names, though it was not asked yet whether the try still stood then."""
        self._naming = threading.Lock()
        self._announcements = Announcements(store, framer)
        self._looks = False
        self._others = None
        if refresh is not None:
            self._others = OtherWriters(self._announcements, index, refresh, self._unnamed, self._name_landed)
        remote = is_remote(store)
        sizes = {Kind.BLOCK: PACK_SIZE // 2 if remote else PACK_SIZE, Kind.PAGE: PAGE_PACK_SIZE}
        threads = _REMOTE_PUTS if remote else 1
        self._sinks = {
            kind: PackSink(
                store,
                threads=threads,
                buffers=threads + 1,
                size=size,
                landed=self._note_landed,
                review=self._review,
            )
            for kind, size in sizes.items()
        }
        self._open: dict[Kind, OpenPack | None] = dict.fromkeys(sizes)
        self._locks = {kind: threading.Lock() for kind in sizes}

    def __enter__(self) -> Self:
        """Use the writer as a context manager. Leaving it without :meth:`flush` drops content that is not durable yet.

        Packs that are durable by then are put into the index, so that the next try does not store them again.
        """
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the threads. Put stored packs into the index that no :meth:`flush` put there, if the store responds."""
        self.wait_for_nobody()
        for sink in self._sinks.values():
            sink.close()
        died = error is not None and not isinstance(error, (Exception, KeyboardInterrupt))
        if not died and getattr(error, "recovery", None) is not Recovery.RETRY:
            with suppress(VmKeepError):  # the next try stores their content again, and a prune removes these packs
                self._name_landed()
                self._withdraw(self._announcements.standing)  # of packs that were given up

    def wait_for_nobody(self) -> None:
        """End all waits for other writers, because this copy ends early. Call it before threads that add are joined."""
        if self._others is not None:
            self._others.stop()

    @property
    def begun(self) -> str:
        """The id of the try that this writer is part of."""
        return self._begun_try.id

    @property
    def bytes_stored(self) -> int:
        """Bytes of frames and index segments that this writer has written or is about to write."""
        return self._stored + self._named - self._spared

    def add(self, kind: Kind, digest: bytes, raw: Bytes) -> int:
        """Store content unless it is there already; return the bytes of its frame, or 0 if it was there.

        The caller may reuse ``raw`` when this returns. The content is durable after the next :meth:`flush`.
        """
        if not self._claim(digest):
            return 0
        try:
            return self._append(kind, self._framer.pack(kind, digest, raw))
        except BaseException:
            self._broken = True  # other threads may rely on the claimed digest, so no flush may succeed any more
            raise
        finally:
            self._let_go()

    def move(self, packed: Packed) -> int:
        """Store content from another pack, in its compressed form, unless it is there already; see :meth:`add`."""
        if not self._claim(packed.digest):
            return 0
        try:
            return self._append(packed.kind, packed)
        except BaseException:
            self._broken = True
            raise
        finally:
            self._let_go()

    def _let_go(self) -> None:
        with self._changed:
            self._in_hand -= 1
            self._changed.notify_all()

    def knows(self, digest: bytes) -> bool:
        """Return whether the repository has this content, so that the caller need not read it.

        Content in a pack that is about to be deleted does not count.
        """
        return self._index.known(digest)

    def _claim(self, digest: bytes) -> bool:
        if self.knows(digest):
            return False
        with self._changed:
            while self._held:
                self._changed.wait()
            if digest in self._claimed or digest in self._landing:
                return False
            self._claimed.add(digest)
            self._in_hand += 1
            return True

    def _append(self, kind: Kind, packed: Packed) -> int:
        """Write a frame into the open pack. It is encrypted only now, because each pack has its own key."""
        with self._locks[kind]:
            pack = self._open[kind]
            if pack is not None and not pack.fits(packed):
                self._open[kind] = None
                self._sinks[kind].submit(pack)
                pack = None
            while pack is None:
                room = self._sinks[kind].room()
                if isinstance(room, PackBuffer):
                    pack = OpenPack(kind, room, self._framer)
                elif room.fits(packed):
                    pack = room
                else:
                    self._sinks[kind].submit(room)
            self._open[kind] = pack
            length = pack.append(packed)
            self._stored += length
        return length

    def flush(self, check: Callable[[], None] = lambda: None) -> None:
        """Return once everything that any thread has added so far is durable and in the index.

        :param check: called every second. It raises an error when the copy has to stop; the writer is of no use then.
        :raises StaleError: maintenance took this process for dead; see :meth:`BegunTry.require`.
        """
        with self._changed:
            self._held = True  # until every claimed digest is in a pack, no thread may take it for stored
            try:
                wait_for(self._changed, lambda: not self._in_hand, check=check)
                if self._broken:
                    raise StoreError("this writer failed to store a block before; start the copy again")
                self._landing, self._claimed = self._claimed, set()
                for kind, sink in self._sinks.items():
                    if (pack := self._open[kind]) is not None:
                        self._open[kind] = None
                        sink.submit(pack)
                    sink.take_back()
            finally:
                self._held = False
                self._changed.notify_all()
        for sink in self._sinks.values():
            sink.drain(check)
        self._name_landed()
        with self._changed:
            self._landing = set()

    def _name_landed(self) -> None:
        with self._naming:
            packs = self._landed.copy()
            if packs:
                self._named += self._index.store_segment(packs)
                self._unasked += [pack.pack_id for pack in packs]
                del self._landed[: len(packs)]
            if self._unasked:  # also those of an earlier call, because the store may have failed at the question
                self._begun_try.require(self._unasked)
                self._withdraw(self._unasked)
                self._unasked = []

    def _note_landed(self, pack: PackContents) -> None:
        self._landed.append(pack)
        if self._others is not None and pack.pack_id in self._announcements.standing:
            with _only_thrift():
                self._others.name_if_wanted()

    def _unnamed(self) -> bytes:
        """Return the digests in packs that are stored and not in the index yet, one after another."""
        return b"".join(pack.digests for pack in self._landed.copy())

    def _review(self, pack: OpenPack, to_fill: bool) -> bool:
        """Take out of a pack what others have stored; return whether it is to be stored now."""
        if self._others is None or pack.kind is not Kind.BLOCK:
            return True
        self._looks = self._looks or pack.used >= otherwriters.WORTHWHILE
        if not self._looks:
            return True
        before = pack.used
        with _only_thrift():
            self._others.thin_out(pack, to_fill=to_fill)
        with self._naming:
            self._spared += before - pack.used
        stores = pack.count > 0 and not (to_fill and pack.used < before and otherwriters.has_room(pack))
        if not stores:
            self._withdraw([pack.id])
        return stores

    def _withdraw(self, packs: Sequence[bytes]) -> None:
        """Remove announcements. One that stays is old soon, and does not count then."""
        with suppress(StoreError, PermissionDeniedError):
            self._announcements.withdraw(packs)


@contextmanager
def _only_thrift() -> Iterator[None]:
    """Go on if the store fails at something that only saves room. If it is gone, the copy will learn that anyway."""
    try:
        yield
    except (StoreError, PermissionDeniedError) as error:
        log.info("cannot look at the blocks that other writers store: %s", error)
