"""Stores whole packs in the background, so that hashing never waits for a disk's fsync and memory stays bounded.

There are few buffers. A thread takes a full buffer, stores its pack and gives the buffer back. A caller that finds no
free buffer waits. If storing fails, the waiting caller gets the error.

Before a pack is stored it is reviewed, because others may have stored its blocks meanwhile. A pack from which much was
taken is handed back to be filled, unless somebody waits until everything is durable.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from vmkeep.blobs import BlobStore
from vmkeep.repository.frames import OpenPack, PackBuffer, PackContents, pack_key

CHECKS_EVERY = 1.0
"""Seconds between two looks whether a wait has to end."""


def wait_for(changed: threading.Condition, met: Callable[[], object], *, check: Callable[[], None]) -> None:
    """Wait until something is met. Call ``check`` every second meanwhile, and end with the error that it raises.

    :param changed: a condition that the caller holds, and that tells when to look again.
    """
    while not changed.wait_for(met, CHECKS_EVERY):
        check()


class PackSink:
    """Stores packs of one kind in its own threads."""

    def __init__(
        self,
        store: BlobStore,
        *,
        threads: int,
        buffers: int,
        size: int,
        landed: Callable[[PackContents], None],
        review: Callable[[OpenPack, bool], bool] = lambda _pack, _to_fill: True,
    ) -> None:
        """Prepare. No thread starts before the first pack is submitted.

        :param threads: number of packs that are stored at the same time.
        :param buffers: number of packs in memory. With fewer than one more than ``threads``, the copy would wait for
            the store.
        :param size: bytes of a buffer, which is the largest size of a pack.
        :param landed: called after each pack is durable, in the thread that stored it.
        :param review: called before a pack is stored, in the thread that stores it, and told whether the pack can be
            filled again. It may take frames out, and returns whether the pack is to be stored now.
        """
        self._store = store
        self._landed = landed
        self._review = review
        self._size = size
        self._unstarted = threads
        self._unused = buffers
        self._free: list[PackBuffer] = []
        self._handed_back: list[OpenPack] = []
        self._keeps_all = False
        self._waiting: deque[OpenPack] = deque()
        self._undone: set[OpenPack] = set()
        self._error: BaseException | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []

    def room(self) -> OpenPack | PackBuffer:
        """Return a pack that was handed back, or a buffer for a new one. Wait while all buffers are in use."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._handed_back or self._free or self._unused or self._error or self._closed
            )
            self._raise()
            if self._handed_back:
                return self._handed_back.pop()
            if self._free:
                return self._free.pop()
            self._unused -= 1
        return PackBuffer(self._size)

    def submit(self, pack: OpenPack) -> None:
        """Queue a pack to be stored, without waiting."""
        with self._changed:
            self._raise()
            self._waiting.append(pack)
            self._undone.add(pack)
            if self._unstarted and len(self._undone) > len(self._threads):
                self._unstarted -= 1
                thread = threading.Thread(target=self._run, name="pack-sink", daemon=True)
                thread.start()
                self._threads.append(thread)
            self._changed.notify_all()

    def take_back(self) -> None:
        """Queue the packs that were handed back, and hand none back until :meth:`drain` returns."""
        with self._changed:
            self._raise()
            self._keeps_all = True
            self._waiting.extend(self._handed_back)
            self._undone.update(self._handed_back)
            self._handed_back.clear()
            self._changed.notify_all()

    def drain(self, check: Callable[[], None] = lambda: None) -> None:
        """Return once all packs that were submitted before this call are durable.

        Later packs are not waited for, because a copy that is faster than its store never lets the queue run empty.

        :param check: called every second. The wait ends with the error that it raises.
        """
        with self._changed:
            before = self._undone.copy()
            wait_for(self._changed, lambda: self._error or self._closed or before.isdisjoint(self._undone), check=check)
            self._keeps_all = False
            self._raise()

    def close(self) -> None:
        """Stop after the packs that are being stored. Packs that still wait are dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            threads = self._threads
        for thread in threads:
            thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
        if self._closed:
            raise RuntimeError("the writer is closed")

    def _run(self) -> None:
        while (pack := self._next()) is not None:
            try:
                if stores := self._review(pack, not self._keeps_all):
                    data, contents = pack.finish()
                    self._store.put(pack_key(pack.id), data)
                    self._landed(contents)
            except BaseException as error:  # noqa: BLE001 - raised again in the waiting threads
                with self._changed:
                    self._error = self._error or error
                    self._changed.notify_all()
                return
            self._done_with(pack, stored=stores)

    def _done_with(self, pack: OpenPack, *, stored: bool) -> None:
        with self._changed:
            if not stored and pack.count and self._keeps_all:
                self._waiting.append(pack)  # somebody began to wait for it during the review
            else:
                self._undone.discard(pack)
                if stored or not pack.count:
                    self._free.append(pack.buffer)
                else:
                    self._handed_back.append(pack)
            self._changed.notify_all()

    def _next(self) -> OpenPack | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed or self._error)
            if self._closed or self._error:
                return None
            return self._waiting.popleft()
