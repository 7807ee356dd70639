"""Says which blobs a store with Object Lock has to lock: those that a restore needs. None of them is ever rewritten."""

from __future__ import annotations

import logging

from vmkeep.blobs import BlobStore, LockRule, locks_of
from vmkeep.errors import CorruptError, RepositoryError
from vmkeep.model.wording import counted
from vmkeep.repository.folders import INDEX, KEYS, PACKS, POINTS
from vmkeep.repository.unlock import descriptor

LOCKED_FOLDERS = (PACKS, INDEX, POINTS, KEYS)

log = logging.getLogger(__name__)


def is_locked(key: str) -> bool:
    """Return whether the blob with a key is to be locked."""
    return key == descriptor.KEY or key.startswith(LOCKED_FOLDERS)


def begin_locks(store: BlobStore, rule: LockRule | None) -> None:
    """Lock new blobs from now on, as the repository's descriptor says.

    A copy of the repository in a store without locks can be used, too; a warning says that nothing is locked there.

    :param rule: the descriptor's rule; ``None``: nothing is locked.
    """
    if rule is None:
        return
    if (locks := locks_of(store)) is not None:
        locks.begin(rule, is_locked)
    else:
        log.warning("%s: the repository asks for locks, and this kind of store has none", store.location)


def require_locks(store: BlobStore, rule: LockRule | None) -> None:
    """Check that a store can lock the blobs of a new repository, and lock new blobs from now on.

    :raises RepositoryError: the store cannot lock blobs.
    """
    if rule is None:
        return
    if (locks := locks_of(store)) is None:
        raise RepositoryError(f"{store.location}: only S3 with Object Lock can lock blobs")
    locks.check()
    locks.begin(rule, is_locked)


def locked_by_age(store: BlobStore, rule: LockRule | None, prefix: str) -> frozenset[str]:
    """Return the blobs below a prefix that are still locked, by their age; none if the repository locks nothing."""
    if rule is None or (locks := locks_of(store)) is None:
        return frozenset()
    now = locks.now()
    return frozenset(blob.key for blob in store.list(prefix) if now - blob.modified < rule.period)


def require_visible(store: BlobStore, rule: LockRule | None, prefix: str) -> None:
    """Return if nobody has deleted or overwritten locked blobs below a prefix. Ask the store only if there are locks.

    :raises CorruptError: somebody has hidden blobs. A prune that missed them would delete the data that they need.
    """
    if rule is None or (locks := locks_of(store)) is None:
        return
    if hidden := [found.key for found in locks.versions(prefix) if found.trouble]:
        raise CorruptError(
            f"{store.location}: somebody else has deleted or overwritten {counted(len(hidden), 'blob')} below "
            f"{prefix}, {hidden[0]} among them; nothing is deleted: run 'vmkeep repo lock --restore'"
        )
