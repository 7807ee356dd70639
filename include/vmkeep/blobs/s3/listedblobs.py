"""The blobs of a list that was read to its end, in a third of the memory that objects would take.

A caller gets the first blob of a list when the last one is known. A bucket may hold millions, so a list keeps names in
pages, and sizes and times in arrays. A blob becomes an object when it is asked for.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from vmkeep.blobs.store import BlobInfo

_PAGE: Final = 1000
"""Names in one text."""
_BETWEEN: Final = "\n"
"""No blob has this in its name."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class ListedBlobs:
    """Blobs in the order of their keys."""

    def __init__(self) -> None:
        self._pages: list[str] = []
        self._names: list[str] = []
        """Those of the page that is not full yet."""
        self._sizes = array("Q")
        self._times = array("q")
        """Microseconds since 1970."""
        self._last = ""
        self._is_ordered = True

    def __len__(self) -> int:
        """Return the number of blobs."""
        return len(self._sizes)

    def add(self, key: str, size: int, modified: datetime) -> None:
        """Add a blob. Servers mostly list in the order of keys; other orders take more memory."""
        if key < self._last:
            self._is_ordered = False
        self._last = key
        self._names.append(key)
        self._sizes.append(size)
        self._times.append((modified - _EPOCH) // _MICROSECOND)
        if len(self._names) == _PAGE:
            self._pages.append(_BETWEEN.join(self._names))
            self._names = []

    def __iter__(self) -> Iterator[BlobInfo]:
        """Yield the blobs, sorted by key."""
        if self._is_ordered:
            return self._as_added()
        return iter(sorted(self._as_added(), key=lambda blob: blob.key))

    def __contains__(self, key: object) -> bool:
        """Return whether a blob is listed. This looks at all of them."""
        return key in self._names or any(key in page.split(_BETWEEN) for page in self._pages)

    def _as_added(self) -> Iterator[BlobInfo]:
        at = 0
        for page in (*self._pages, _BETWEEN.join(self._names)):
            for key in page.split(_BETWEEN) if page else ():
                yield BlobInfo(key=key, size=self._sizes[at], modified=_EPOCH + self._times[at] * _MICROSECOND)
                at += 1
