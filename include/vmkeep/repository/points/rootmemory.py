"""Remembers the roots of manifests, so that a process that looks at all points several times reads each manifest once.

A manifest never changes, but a point may be deleted, and a point of the same name may come, for example a copy that
is brought back. So the listing of each look decides which manifests exist, and the roots of one count only if its blob
has the size and the time that it had when they were read. A store may count time in whole seconds. So the roots of a
manifest are kept only if a younger one was listed beside it: any blob that comes later has another time. Decision 0145
gives the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from blake3 import blake3

from vmkeep.blobs import BlobInfo
from vmkeep.repository.frames import DIGEST_SIZE

_SETTLED: Final = timedelta(minutes=1)
"""Difference to the youngest manifest of a listing from which roots are kept. Clocks of one store's servers differ."""
_NAME_SIZE: Final = 16


class RootMemory:
    """The roots of one repository's manifests. Thread-safe. 100,000 points of two maps take 20 MB."""

    def __init__(self) -> None:
        self._roots: dict[bytes, bytes] = {}
        self._settled_before: datetime | None = None

    def listed(self, blobs: Iterable[BlobInfo]) -> None:
        """Take in a new listing of all manifests, and forget the roots of those that are not in it any more."""
        names, youngest = set[bytes](), None
        for blob in blobs:
            names.add(_name(blob))
            youngest = blob.modified if youngest is None else max(youngest, blob.modified)
        self._roots = {name: roots for name, roots in self._roots.items() if name in names}
        self._settled_before = None if youngest is None else youngest - _SETTLED

    def of(self, blob: BlobInfo, load: Callable[[], Iterable[str]]) -> list[str]:
        """Return the roots of a manifest that is in the listing.

        :param load: reads them from the manifest, if they are not known.
        """
        name = _name(blob)
        if (known := self._roots.get(name)) is not None:
            return _unpacked(known)
        roots = list(load())
        if self._settled_before is not None and blob.modified <= self._settled_before:
            with suppress(ValueError):  # not the digests of maps: whoever walks them says so
                packed = b"".join(map(bytes.fromhex, roots))
                if _unpacked(packed) == roots:
                    self._roots[name] = packed
        return roots


def _unpacked(packed: bytes) -> list[str]:
    return [packed[at : at + DIGEST_SIZE].hex() for at in range(0, len(packed), DIGEST_SIZE)]


def _name(blob: BlobInfo) -> bytes:
    text = f"{blob.key}\n{blob.modified.isoformat()}\n{blob.size}"
    return blake3(text.encode()).digest(_NAME_SIZE)
