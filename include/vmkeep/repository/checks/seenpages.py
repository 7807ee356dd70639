"""Map pages that a check has read with their pack, so that the check of the points does not fetch them one by one.

A page is known by its place and not by its digest alone: another frame of the same digest may be damaged. Memory is
bounded; the pages of a pack for which there is no room are fetched later as the points need them.
"""

from __future__ import annotations

import threading

from vmkeep.repository.frames import PackContents
from vmkeep.repository.index import Location

_MOST = 64 << 20
"""Bytes of the pages that are kept: those of 500 GiB of data in blocks of 256 KiB."""
_A_PAGE = 256
"""Bytes that keeping a page costs besides its content."""


class SeenPages:
    """The good pages of some packs. Thread-safe."""

    def __init__(self) -> None:
        self._pages: dict[tuple[bytes, int], tuple[bytes, bytes]] = {}
        self._room = _MOST
        self._lock = threading.Lock()

    def has_room_for(self, contents: PackContents) -> bool:
        """Return whether the pages of a pack can be kept, and keep the room for them."""
        size = sum(contents.raw_lengths) + _A_PAGE * contents.count
        with self._lock:
            if size > self._room:
                return False
            self._room -= size
            return True

    def add(self, pack: bytes, offset: int, digest: bytes, content: bytes) -> None:
        """Keep a page whose content matches its digest."""
        with self._lock:
            self._pages[pack, offset] = digest, content

    def find(self, location: Location | None, digest: bytes, *, size: int) -> bytes | None:
        """Return the page at a place; ``None``: it was not read, or it is another one or of another size."""
        found = None if location is None else self._pages.get((location.pack, location.offset))
        return found[1] if found is not None and found[0] == digest and len(found[1]) == size else None
