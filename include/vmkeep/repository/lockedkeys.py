"""The blobs that a store with locks locks: those that a restore needs, and none that is rewritten."""

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
    """Return whether a blob of that name is to be locked."""
    return key == descriptor.KEY or key.startswith(LOCKED_FOLDERS)


def begin_locks(store: BlobStore, rule: LockRule | None) -> None:
    """Lock from now on what is put, as the repository's descriptor says.

    A copy of the repository that lies where nothing can be locked stays usable; a warning says what it lacks.
    """
    if rule is None:
        return
    if (locks := locks_of(store)) is not None:
        locks.begin(rule, is_locked)
    else:
        log.warning("%s: the repository asks for locks, and this kind of store has none", store.location)


def require_locks(store: BlobStore, rule: LockRule | None) -> None:
    """Prove that a store can keep a new repository's locks, and begin with them.

    :raises RepositoryError: it cannot.
    """
    if rule is None:
        return
    if (locks := locks_of(store)) is None:
        raise RepositoryError(f"{store.location}: only S3 with Object Lock can lock what is stored")
    locks.check()
    locks.begin(rule, is_locked)


def locked_by_age(store: BlobStore, rule: LockRule | None, prefix: str) -> frozenset[str]:
    """Return the blobs below a prefix that are locked since they were put; none where nothing is locked."""
    if rule is None or (locks := locks_of(store)) is None:
        return frozenset()
    now = locks.now()
    return frozenset(blob.key for blob in store.list(prefix) if now - blob.modified < rule.period)


def require_visible(store: BlobStore, rule: LockRule | None, prefix: str) -> None:
    """Make sure that nobody has deleted or overwritten what is locked below a prefix; costs nothing without locks.

    :raises CorruptError: somebody has. Whoever takes what he sees for all there is would help him.
    """
    if rule is None or (locks := locks_of(store)) is None:
        return
    if hidden := [found.key for found in locks.versions(prefix) if found.trouble]:
        raise CorruptError(
            f"{store.location}: somebody else has deleted or overwritten {counted(len(hidden), 'blob')} below "
            f"{prefix}, {hidden[0]} among them; nothing is deleted: run 'vmkeep repo lock --restore'"
        )
