"""Merges the small segments that have gathered in the store, at the end of a run that has stored something.

It is a merge like any other (:mod:`~vmkeep.maintenance.merge`): it locks nothing, works under a try of its own, and
deletes a segment only after it has put every entry of that segment itself. It may put an entry again whose pack a prune
deletes meanwhile. The record of that deletion tells everybody to avoid the pack, and it stays while a segment names the
pack; see decision 0121.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from vmkeep.blobs import abreast
from vmkeep.errors import LockedError, PermissionDeniedError
from vmkeep.maintenance.index_rewriting import IndexRewriting, rewriting_index
from vmkeep.repository import Repository
from vmkeep.repository.folders import INDEX
from vmkeep.repository.index import MANY, gathered
from vmkeep.repository.index.columns import Columns
from vmkeep.repository.index.merging import merged
from vmkeep.repository.notes import INDEX_STAYS

_REFUSED: Final = "refused"
"""The note that says that the store refuses to delete segments."""


def merge_gathered(repository: Repository) -> int:
    """Merge the small segments into one if several have gathered; return the number of those that are gone.

    A store that locks its blobs refuses to delete the merged ones, so there nothing is done. Nor is it for some days
    where a store has refused to delete one, because each merge would leave one segment more.

    :raises StaleError: maintenance took this process for dead meanwhile. No segment was deleted.
    """
    if repository.descriptor.lock is not None or repository.run(INDEX_STAYS).has(_REFUSED):
        return 0
    with rewriting_index(repository) as rewriting:
        return _merge(repository, rewriting)


def _merge(repository: Repository, rewriting: IndexRewriting) -> int:
    wanted = gathered({blob.key: blob.size for blob in repository.blobs.list(INDEX)})
    index = repository.index
    opened = {key: segment for key, _, segment in index.open_listed(wanted) if index.is_whole(key, segment)}
    together, parts = _joined([segment.columns() for segment in opened.values() if segment.entries])
    if together is None or parts < MANY // 2:
        return 0
    rewriting.put(together)
    return _deleted(repository, list(opened))


def _joined(parts: Sequence[Columns]) -> tuple[Columns | None, int]:
    """Return the entries of all parts, each once, and the number of parts without which some would be missing.

    A process that dies before it deletes leaves those that it has merged beside the merged one. Only newer ones give a
    reason to merge again.
    """
    together, needed = None, 0
    for part in sorted(parts, key=lambda part: -len(part.prefixes)):
        joined = merged([part] if together is None else [together, part])
        needed += together is None or len(joined.prefixes) > len(together.prefixes)
        together = joined
    return together, needed


def _deleted(repository: Repository, keys: Sequence[str]) -> int:
    """Delete segments, the first one alone, because a store that refuses one mostly refuses all.

    If it refuses, note that. A prune removes the note after ``left_for``, like all that dead runs leave, and then the
    store is asked once more.
    """
    try:
        repository.blobs.delete(keys[0])
        deque(abreast(repository.blobs, repository.blobs.delete, keys[1:]), maxlen=0)
    except (LockedError, PermissionDeniedError) as error:
        repository.run(INDEX_STAYS).store(_REFUSED, str(error).encode())
        return 0
    return len(keys)
