"""Locks that a store keeps on blobs: until a date nobody can delete one or shorten that, not even who has the keys.

Only S3 with Object Lock can. Which blobs are to be locked, and for how long, the repository says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from vmkeep.blobs.store import BlobStore, backend
from vmkeep.errors import LockedError, UsageError, VmKeepError

_MOST_DAYS = 36500


class LockMode(StrEnum):
    """The mode of a lock: who can take it off before its time."""

    COMPLIANCE = "compliance"
    """Nobody, the owner of the account included."""
    GOVERNANCE = "governance"
    """Anyone with the right ``s3:BypassGovernanceRetention`` who asks for it; vmkeep never does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRule:
    """For how long blobs are locked from the time they are stored."""

    mode: LockMode
    days: int

    def __post_init__(self) -> None:
        """Refuse what S3 refuses."""
        if not 0 < self.days <= _MOST_DAYS:
            raise UsageError(f"a lock of {self.days} days: choose 1 to {_MOST_DAYS}")

    @property
    def period(self) -> timedelta:
        """The same, as a length of time."""
        return timedelta(days=self.days)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobVersion:
    """A version that a store keeps of a blob, or a mark that the blob was deleted."""

    id: str
    deleted: bool
    """A mark of deletion: it hides older versions, and holds nothing."""
    size: int
    e_tag: str
    """Equal ones mean equal bytes."""
    modified: datetime
    """By the store's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """All versions of one blob, newest first. The oldest that is no mark of deletion is what was put."""

    key: str
    all: tuple[BlobVersion, ...]

    @property
    def original(self) -> BlobVersion | None:
        """The version that was put first; ``None``: only marks are left."""
        return next((version for version in reversed(self.all) if not version.deleted), None)

    @property
    def trouble(self) -> str:
        """The cause that hides the original from readers; empty: they see it, or a copy of it."""
        original, newest = self.original, self.all[0]
        if original is None:
            return ""
        if newest.deleted:
            return "deleted"
        return "" if (newest.size, newest.e_tag) == (original.size, original.e_tag) else "overwritten"


class Locks(Protocol):
    """The additional abilities of a store that keeps locks."""

    def begin(self, rule: LockRule, covers: Callable[[str], bool]) -> None:
        """Lock each blob that is put from now on, if ``covers`` accepts its key."""

    def check(self) -> None:
        """Prove that locks can be set here and hold.

        :raises RepositoryError: they do not; the message says what to change.
        """

    def now(self) -> datetime:
        """Return the time by the store's clock."""

    def versions(self, prefix: str) -> Iterator[Versions]:
        """Yield all versions of the blobs whose key begins so."""

    def extend(self, key: str, version: BlobVersion, rule: LockRule) -> bool:
        """Lock a version for the rule's full time from now, if less than half of that is left; never for less.

        :returns: whether it had to be.
        """

    def bring_back(self, versions: Versions) -> None:
        """Make readers see the original again: remove what hides it, or where that is locked, put a copy on top."""


def locks_of(store: BlobStore) -> Locks | None:
    """Return the lock keeper of a store, below any wrappers; ``None``: it can keep no locks."""
    locks: Locks | None = getattr(backend(store), "locks", None)
    return locks


def hidden_in(store: BlobStore, key: str) -> str:
    """Return how somebody hid a blob whose original the store still holds: ``deleted``, ``overwritten`` or ``''``.

    For advice only: where the store keeps no versions or does not show them, nothing is hidden.
    """
    if (locks := locks_of(store)) is None:
        return ""
    with suppress(VmKeepError):
        return next((found.trouble for found in locks.versions(key) if found.key == key), "")
    return ""


def delete_unlocked(store: BlobStore, key: str) -> bool:
    """Remove a blob unless it is locked; return whether it is gone."""
    try:
        store.delete(key)
    except LockedError:
        return False
    return True
