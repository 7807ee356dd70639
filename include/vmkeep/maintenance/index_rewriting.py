"""Puts index segments that name packs which were looked up before, and finds out whether all that still held.

A process may stand still between its look at the packs and its put of a segment, while others delete some of the packs.
Then the record of that deletion has to be there still, because it tells everybody to avoid these packs. So the process
works under a try, as a backup does: while the blob of the try stands, no such record is forgotten. Decision 0013 has
the reasoning.

The try keeps no record of a deletion that was over when it began. A segment that is opened then may name packs of that
deletion, because an older rewriting put their entries again; another process may delete that segment and forget the
record before this one puts. So nobody puts entries of these packs once more; see decision 0121.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from vmkeep.blobs import abreast, confirm_lists, is_there
from vmkeep.errors import StaleError
from vmkeep.lateclass import dataclass
from vmkeep.repository import Repository
from vmkeep.repository.frames import pack_key
from vmkeep.repository.index.columns import Columns
from vmkeep.repository.index.merging import in_packs
from vmkeep.repository.notes import tries


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The entries that were put, and the bytes of their segment; both are 0 if none was left to put."""

    entries: int
    size: int


class IndexRewriting:
    """The right to put segments, for as long as the process gives signs of life."""

    def __init__(self, repository: Repository, run: str, begun: str) -> None:
        """Go on under a try that has begun. Open segments only after this.

        A record that is forgotten by now needs no look: whoever forgot it saw that no segment named its packs any more.
        """
        self._repository = repository
        self._run = run
        self._begun = begun
        self._swept = repository.sweep_records.swept()

    def put(self, columns: Columns) -> Written:
        """Put entries into the index, as one segment. Delete a segment that holds them only after this.

        Entries are left out whose pack a sweep deleted before this rewriting began, and no others: a pack that is not
        found may be on a disk that is not mounted.

        :raises StaleError: see :meth:`require`.
        """
        left = self._without_swept(columns)
        if not len(left.prefixes):
            return Written(entries=0, size=0)
        size = self._repository.stored_index.put(left)
        self.require(row.tobytes() for row in left.pack_ids)
        return Written(entries=len(left.prefixes), size=size)

    def _without_swept(self, columns: Columns) -> Columns:
        """Leave out the entries of packs that a sweep has deleted. A pack that is still there was locked: it counts."""
        store = self._repository.blobs
        named = [row.tobytes() for row in columns.pack_ids]
        gone = {pack for pack in self._swept.intersection(named) if not is_there(store, pack_key(pack))}
        if not gone:
            return columns
        return in_packs(columns, np.array([pack not in gone for pack in named], np.bool_))

    def require(self, packs: Iterable[bytes]) -> None:
        """Return if others still keep the records of deletions for this process. Call it after each segment.

        :param packs: the packs that the segment names.
        :raises StaleError: maintenance took this process for dead. Packs that are gone are condemned, so that nobody
            counts on them.
        """
        store = self._repository.blobs
        if tries.is_standing(store, self._run, self._begun):
            return
        named = sorted(set(packs))
        there = abreast(store, lambda pack: is_there(store, pack_key(pack)), named)
        if gone := [pack for pack, exists in zip(named, there, strict=True) if not exists]:
            self._repository.sweep_records.condemn(gone)
        raise StaleError(
            "this process stood still for so long that maintenance took it for dead; nothing is lost: start it again"
        )


@contextmanager
def rewriting_index(repository: Repository) -> Iterator[IndexRewriting]:
    """Begin to rewrite the index. Look at segments and packs only inside of this context."""
    confirm_lists(repository.blobs)  # a deletion that is missing in a list would have its entries put again
    run = f"index-{secrets.token_hex(8)}"
    with repository.at_work(run) as begun:
        yield IndexRewriting(repository, run, begun)
