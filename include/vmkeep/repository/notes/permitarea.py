"""The area of one limit: a folder of JSON notes, which :mod:`~vmkeep.repository.notes.permits` describes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from blake3 import blake3

from vmkeep.blobs import BlobInfo, BlobStore, abreast, is_remote
from vmkeep.errors import BlobNotFoundError, CorruptError
from vmkeep.model.limits import Limit
from vmkeep.repository.folders import RUNS
from vmkeep.repository.frames import Framer, Kind

PREFIX: Final = "permits-"
"""The beginning of the name of each limit's area."""

T = TypeVar("T")
R = TypeVar("R")


class PermitArea:
    """Reads and writes the notes of one limit."""

    def __init__(self, store: BlobStore, framer: Framer, limit: Limit) -> None:
        self.store = store
        self.framer = framer
        self.prefix = f"{RUNS}{PREFIX}{digest(limit.key)}/"

    def list(self, folder: str = "") -> list[BlobInfo]:
        """Return the notes in a folder of the area, in the order of their keys."""
        return sorted(self.store.list(f"{self.prefix}{folder}"), key=lambda blob: blob.key)

    def load(self, key: str) -> dict[str, Any]:
        """Return the fields of a note. One that cannot be read has none, and so counts as held until it is old."""
        with suppress(BlobNotFoundError, CorruptError, ValueError):
            fields = json.loads(bytes(self.framer.unwrap(Kind.NOTE, self.store.get(key), name=key)))
            if isinstance(fields, dict):
                return fields
        return {}

    def create(self, key: str, fields: dict[str, Any]) -> None:
        """Write a note that does not exist yet.

        :raises ConflictError: it exists.
        """
        self.store.put(key, self._wrap(key, fields))

    def replace(self, key: str, fields: dict[str, Any]) -> None:
        """Write a note, whether it exists or not."""
        self.store.replace(key, self._wrap(key, fields))

    def delete(self, key: str) -> None:
        """Delete a note."""
        self.store.delete(key)

    def each(self, call: Callable[[T], R], items: Sequence[T]) -> Iterable[R]:
        """Call for each item, several at a time where each call is a round trip."""
        return abreast(self.store, call, items) if is_remote(self.store) else map(call, items)

    def _wrap(self, key: str, fields: dict[str, Any]) -> bytes:
        return self.framer.wrap(Kind.NOTE, json.dumps(fields).encode(), name=key)


def digest(text: str) -> str:
    """Return the part of a key that stands for a limit or an owner."""
    return blake3(text.encode()).hexdigest()[:32]


def work_of(fields: dict[str, Any]) -> str:
    """Return the work that a note names, for people."""
    return str(fields.get("what") or "work that is not known, because its note is damaged")
