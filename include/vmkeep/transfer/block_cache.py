"""A cache of blocks that many disks and threads share, with one budget, in which each block is fetched once at a time.

Blocks are known by their digests, so equal blocks of any disks are one. The blocks that were read last stay. A thread
*claims* the blocks that it lacks: of each block that nobody has, it becomes the fetcher, and others wait for its
*flight*.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import field

from vmkeep.lateclass import dataclass


class Flight:
    """A block that a thread fetches now."""

    __slots__ = ("_content", "_over")

    def __init__(self) -> None:
        self._over = threading.Event()
        self._content: memoryview | None = None

    def wait(self) -> memoryview | None:
        """Return the block once it is there; ``None``: its fetcher has failed."""
        self._over.wait()
        return self._content

    def end(self, content: memoryview | None) -> None:
        """Wake all who wait."""
        self._content = content
        self._over.set()


@dataclass(slots=True)
class Claimed:
    """The outcome of a claim."""

    held: dict[bytes, memoryview] = field(default_factory=dict)
    flights: dict[bytes, Flight] = field(default_factory=dict)
    """The blocks that other threads fetch."""
    ours: list[bytes] = field(default_factory=list)
    """The blocks that the caller has to fetch. It calls :meth:`BlockCache.land` or :meth:`BlockCache.fail` for each."""


class BlockCache:
    """Checked blocks by digest. Thread-safe."""

    def __init__(self, size: int) -> None:
        """Make an empty cache.

        :param size: bytes of the blocks that stay. Blocks that are being fetched or copied come on top.
        """
        self.size = size
        self._held = 0
        self._blocks: OrderedDict[bytes, memoryview] = OrderedDict()
        self._flights: dict[bytes, Flight] = {}
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """Bytes of all blocks in the cache."""
        return self._held

    def claim(self, digests: Iterable[bytes]) -> Claimed:
        """Return the blocks that are held, and divide the others among their fetchers."""
        claimed = Claimed()
        with self._lock:
            for digest in digests:
                if (block := self._blocks.get(digest)) is not None:
                    self._blocks.move_to_end(digest)
                    claimed.held[digest] = block
                elif (flight := self._flights.get(digest)) is not None:
                    claimed.flights[digest] = flight
                else:
                    self._flights[digest] = Flight()
                    claimed.ours.append(digest)
        return claimed

    def claim_missing(self, digests: Iterable[bytes]) -> list[bytes]:
        """Claim the blocks that nobody holds or fetches, and return them. The others do not count as read."""
        with self._lock:
            ours = [digest for digest in digests if digest not in self._blocks and digest not in self._flights]
            self._flights |= {digest: Flight() for digest in ours}
        return ours

    def land(self, digest: bytes, content: memoryview) -> None:
        """Take a block that the caller had claimed. It never changes from now on."""
        with self._lock:
            flight = self._flights.pop(digest, None)
            if digest not in self._blocks:
                self._blocks[digest] = content
                self._held += len(content)
            while self._held > self.size:
                _, dropped = self._blocks.popitem(last=False)
                self._held -= len(dropped)
        if flight is not None:
            flight.end(content)

    def fail_all(self) -> None:
        """Give up all blocks that are being fetched, because nobody will fetch them any more."""
        with self._lock:
            digests = list(self._flights)
        self.fail(digests)

    def fail(self, digests: Iterable[bytes]) -> None:
        """Give up blocks that the caller had claimed, unless they have landed. Those who wait try for themselves."""
        with self._lock:
            flights = [flight for digest in digests if (flight := self._flights.pop(digest, None)) is not None]
        for flight in flights:
            flight.end(None)
