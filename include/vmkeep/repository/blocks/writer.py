"""Stores blocks and map pages that the repository does not have yet.

Order is what makes a power cut harmless: packs are durable before an index segment names them, and nothing can
be sealed that the index does not resolve.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from vmkeep.blobs import BlobStore, Bytes, is_remote
from vmkeep.errors import Recovery, StoreError, VmKeepError
from vmkeep.repository.blocks.sink import PackSink
from vmkeep.repository.frames import Framer, Kind, OpenPack, PackContents, Packed
from vmkeep.repository.index import Index
from vmkeep.repository.notes import Footing

PACK_SIZE = 64 << 20
PAGE_PACK_SIZE = 8 << 20
_REMOTE_PUTS = 3
"""Packs stored at once where a put is a round trip: then they are half as large, so that memory stays the same."""


class BlockWriter:
    """The writer of one copy. Thread-safe, except :meth:`flush` and closing, which one thread calls.

    Needs no lock against other writers: a block that two of them store at once is stored twice.
    """

    def __init__(self, store: BlobStore, framer: Framer, index: Index, footing: Footing) -> None:
        self._framer = framer
        self._footing = footing
        self._index = index
        self._changed = threading.Condition()
        self._claimed: set[bytes] = set()
        self._landing: set[bytes] = set()
        self._in_hand = 0
        self._held = False
        self._broken = False
        self._stored = 0
        self._landed: list[PackContents] = []
        remote = is_remote(store)
        sizes = {Kind.BLOCK: PACK_SIZE // 2 if remote else PACK_SIZE, Kind.PAGE: PAGE_PACK_SIZE}
        threads = _REMOTE_PUTS if remote else 1
        self._sinks = {
            kind: PackSink(store, threads=threads, buffers=threads + 1, size=size, landed=self._landed.append)
            for kind, size in sizes.items()
        }
        self._open: dict[Kind, OpenPack | None] = dict.fromkeys(sizes)
        self._locks = {kind: threading.Lock() for kind in sizes}

    def __enter__(self) -> Self:
        """Use as a context manager; leaving it without :meth:`flush` drops what is not durable yet.

        What is durable by then is made findable, so that the next try does not store it again.
        """
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the threads, and make packs findable that no :meth:`flush` did, unless the store is out of reach."""
        for sink in self._sinks.values():
            sink.close()
        died = error is not None and not isinstance(error, (Exception, KeyboardInterrupt))
        if not died and getattr(error, "recovery", None) is not Recovery.RETRY:
            with suppress(VmKeepError):  # the next try stores them again, and a prune removes these
                self._name_landed()

    @property
    def begun(self) -> str:
        """The try that this writer is part of."""
        return self._footing.begun

    @property
    def bytes_stored(self) -> int:
        """Bytes of frames and index segments written, or about to be, by this writer."""
        return self._stored

    def add(self, kind: Kind, digest: bytes, raw: Bytes) -> int:
        """Store content unless it is there already; return how many bytes that takes.

        ``raw`` may be reused when this returns. Durable after the next :meth:`flush`.
        """
        if not self._claim(digest):
            return 0
        try:
            return self._append(kind, self._framer.pack(kind, digest, raw))
        except BaseException:
            self._broken = True  # the digest is claimed, and others may rely on it: nothing may be flushed any more
            raise
        finally:
            self._let_go()

    def move(self, packed: Packed) -> int:
        """Store content that another pack holds, compressed as it is, unless it is there already; see :meth:`add`."""
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
        """Return whether :meth:`add` would find this content stored already, so that it need not be read.

        What lies in a pack that is about to be deleted does not count as stored.
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
        """Write a frame into the open pack: encrypted on its way there, for the key is that of the pack."""
        with self._locks[kind]:
            pack = self._open[kind]
            if pack is not None and not pack.fits(packed):
                self._open[kind] = None
                self._sinks[kind].submit(pack)
                pack = None
            if pack is None:
                pack = self._open[kind] = OpenPack(kind, self._sinks[kind].buffer(), self._framer)
            length = pack.append(packed)
            self._stored += length
        return length

    def flush(self) -> None:
        """Return once everything added so far, by any thread, is durable and findable.

        :raises StaleError: maintenance took this process for dead; see :meth:`Footing.require`.
        """
        with self._changed:
            self._held = True  # nobody may find "known" what is claimed but not in a pack yet
            try:
                self._changed.wait_for(lambda: not self._in_hand)
                if self._broken:
                    raise StoreError("this writer failed to store a block before; start the copy again")
                self._landing, self._claimed = self._claimed, set()
                for kind, sink in self._sinks.items():
                    if (pack := self._open[kind]) is not None:
                        self._open[kind] = None
                        sink.submit(pack)
            finally:
                self._held = False
                self._changed.notify_all()
        for sink in self._sinks.values():
            sink.drain()
        self._name_landed()
        with self._changed:
            self._landing = set()

    def _name_landed(self) -> None:
        packs = self._landed.copy()
        if packs:
            self._stored += self._index.store_segment(packs)
            del self._landed[: len(packs)]
            self._footing.require([pack.pack_id for pack in packs])
