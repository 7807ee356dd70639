"""Keeps writers that work at the same time from storing the same blocks, without a lock.

Clones that are backed up together have most blocks in common, and each of their writers meets them at about the same
moment. So before a full pack is stored, its writer looks again into the index, and takes out what others have stored
meanwhile. Then it announces the pack, and looks at the announcements of others. If one of them is storing many of the
same blocks, and was first, the writer waits a little until the index names them. A writer whose blocks somebody waits
for names its packs at once, and not only at its next checkpoint.

This saves room, and nothing rests on it: every wait ends, a writer that died is waited for once at most, and whatever
cannot be told or asked is left alone. A block that another writer has stored is counted on only when the index names
it in a pack that nobody condemns, exactly as if it had been there when this writer began. Decision 0129 says why that
is as safe.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from vmkeep.repository.frames import DIGEST_SIZE, OpenPack
from vmkeep.repository.index import Index
from vmkeep.repository.notes import Announcement, Announcements, prefixes_of

log = logging.getLogger(__name__)

WORTHWHILE = 8 << 20
"""A copy that never fills a pack with so many bytes stores without looking, so that a small one costs no call more."""
PATIENCE = 5.0
"""Seconds for which a pack waits for packs of others. This is less than the time after which a lease counts as dead."""
LOOKS_EVERY = 0.2
"""Seconds between two looks at the announcements while a pack waits."""


class OtherWriters:
    """A writer's view of the others. Thread-safe."""

    def __init__(
        self,
        announcements: Announcements,
        index: Index,
        refresh: Callable[[], None],
        unnamed: Callable[[], bytes],
        name: Callable[[], None],
    ) -> None:
        """Look at nothing yet.

        :param refresh: loads what is new in the index, after the packs and frames that it must avoid.
        :param unnamed: returns the digests in this writer's packs that are stored and that the index does not name yet.
        :param name: puts these packs into the index.
        """
        self._announcements = announcements
        self._index = index
        self._refresh = refresh
        self._unnamed = unnamed
        self._name = name
        self._given_up: set[str] = set()
        """The announcements that stood when a wait for their writer ran out. Later ones of that writer count again."""
        self._stop = threading.Event()

    def stop(self) -> None:
        """Wait for nobody any more, and look at nobody."""
        self._stop.set()

    def thin_out(self, pack: OpenPack, *, to_fill: bool) -> int:
        """Take out of a full pack what others have stored or are storing; return the bytes of the frames that went.

        Unless most of a pack that is to be filled went, it is announced: put it then, or withdraw it.

        :param to_fill: whether a pack from which much went can be filled with other blocks.
        :raises StaleError: maintenance took this process for dead; see :meth:`BegunTry.require`.
        """
        if self._stop.is_set():
            return 0
        dropped = self._drop_known(pack)
        if not pack.count or (to_fill and has_room(pack)):
            return dropped
        own = self._announcements.announce(pack.id, prefixes_of(pack.digests))
        self._wait_for_others(pack, own)
        return dropped + self._drop_known(pack)

    def _drop_known(self, pack: OpenPack) -> int:
        if self._index.is_behind():
            self._refresh()
        digests = pack.digests
        each = (digests[at : at + DIGEST_SIZE] for at in range(0, len(digests), DIGEST_SIZE))
        return pack.drop({digest for digest in each if self._index.known(digest)})

    def _wait_for_others(self, pack: OpenPack, own: str) -> None:
        """Wait until the packs of others that come first are named or given up.

        All writers order announcements by the store's time and then by key. Each pack waits only for those before its
        own, so waits form no circle.

        :param own: the key of the pack's announcement.
        """
        end = time.monotonic() + PATIENCE
        mine = prefixes_of(pack.digests)
        first: set[str] | None = None
        while True:
            listed = self._announcements.listed()
            if first is None:
                order = {blob.key: (blob.modified, blob.key) for blob in listed}
                first = {key for key in order if own in order and order[key] < order[own]}
            others = self._name_if_wanted(self._announcements.others(listed))
            awaited = [each for each in others if each.key in first - self._given_up]
            left = {each.writer for each in awaited if _many(each.prefixes & mine, mine)}
            if not left:
                return
            if time.monotonic() >= end:
                log.info("storing blocks that writer %s announced and did not store in time", next(iter(left)))
                self._given_up.update(each.key for each in others if each.writer in left)
                return
            if self._stop.wait(LOOKS_EVERY):
                return

    def name_if_wanted(self) -> None:
        """Put our own packs into the index now if another writer has the same blocks. Call it once a pack is stored."""
        self._name_if_wanted(self._announcements.others(self._announcements.listed()))

    def _name_if_wanted(self, others: list[Announcement]) -> list[Announcement]:
        stored = prefixes_of(self._unnamed())
        if any(_many(each.prefixes & stored, each.prefixes) for each in others):
            self._name()
        return others


def has_room(pack: OpenPack) -> bool:
    """Return whether so much went from a full pack that it is worth filling again."""
    return pack.used * 4 < pack.buffer.size * 3


def _many(some: frozenset[bytes], of: frozenset[bytes]) -> bool:
    """Return whether so many blocks of a pack are stored by others, too, that it is worth waiting."""
    return 8 * len(some) > len(of)
