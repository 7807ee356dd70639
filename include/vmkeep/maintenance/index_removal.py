"""Takes packs out of the index: puts segments without them, then deletes the segments that name them.

A segment that cannot be read stays where it is, because it may list other packs as well.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from vmkeep.errors import BlobNotFoundError, CorruptError, LockedError
from vmkeep.maintenance.index_rewriting import IndexRewriting, rewriting_index
from vmkeep.repository import Kind, Repository
from vmkeep.repository.folders import INDEX
from vmkeep.repository.index import MAX_BLOB, Segment, SegmentLoader

_TRIES: Final = 10
"""Number of listings after which it stays unknown which packs the index names."""


def withdraw(repository: Repository, packs: frozenset[bytes]) -> dict[str, str]:
    """Rewrite each segment that names one of the packs; return the segments that the store refuses to delete.

    :raises StaleError: maintenance took this process for dead meanwhile. Another prune goes on with its work.
    """
    if not packs:
        return {}
    with rewriting_index(repository) as rewriting:
        return _withdraw(repository, packs, rewriting)


def _withdraw(repository: Repository, packs: frozenset[bytes], rewriting: IndexRewriting) -> dict[str, str]:
    locked: dict[str, str] = {}
    loader = SegmentLoader(repository.blobs, repository.framer, cache=repository.cache)
    for blob in list(repository.blobs.list(INDEX)):
        try:
            if not _named(loader.open(blob.key, blob.size), packs).any():
                continue
            content = repository.framer.unwrap(
                Kind.INDEX, repository.blobs.get(blob.key), name=blob.key, limit=MAX_BLOB
            )
            _put_without(rewriting, Segment(content), packs)
        except (BlobNotFoundError, CorruptError):
            continue  # gone: merged meanwhile; damaged: left alone
        try:
            repository.blobs.delete(blob.key)
        except LockedError as error:
            locked[blob.key] = str(error)
    return locked


def named_packs(repository: Repository) -> frozenset[bytes] | None:
    """Return every pack that some segment in the store names; ``None``: not known.

    It is not known while a segment is damaged, because other processes may have its entries in memory or in a cache
    still. Nor is it known if segments vanish again and again.

    Reads only the segments' pack tables. A merge may replace segments between their listing and their opening, or while
    they are being listed, and the listing need not have its own segment. So the segments are listed until all of a
    second or later listing could be opened. A pack counts as named that was named at any time meanwhile.
    """
    loader = SegmentLoader(repository.blobs, repository.framer, cache=repository.cache)
    found, opened = set[bytes](), set[str]()
    for listing in range(_TRIES):
        vanished = False
        for blob in list(repository.blobs.list(INDEX)):
            if blob.key in opened:
                continue
            try:
                found.update(row.tobytes() for row in loader.open(blob.key, blob.size).columns().pack_ids)
            except CorruptError:
                return None
            except BlobNotFoundError:
                vanished = True
            else:
                opened.add(blob.key)
        if listing and not vanished:
            return frozenset(found)
    return None


def _named(segment: Segment, packs: frozenset[bytes]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which packs of a segment's table are in the given set."""
    return np.array([row.tobytes() in packs for row in segment.columns().pack_ids], np.bool_)


def _put_without(rewriting: IndexRewriting, segment: Segment, packs: frozenset[bytes]) -> None:
    columns = segment.columns()
    keep = ~_named(segment, packs)[columns.packs]
    if keep.any():
        rewriting.put(columns.where(keep))
