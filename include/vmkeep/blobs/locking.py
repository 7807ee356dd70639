"""Locks on blobs. Until a lock's date nobody can delete the blob or shorten the lock, not even the owner of the keys.

Only S3 with Object Lock keeps locks. The repository decides which blobs are locked, and for how many days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from vmkeep.blobs.store import BlobStore, backend
from vmkeep.errors import LockedError, UsageError, VmKeepError
from vmkeep.lateclass import dataclass

_MOST_DAYS = 36500


class LockMode(StrEnum):
    """The mode of a lock, which decides whether anyone can take it off before its time."""

    COMPLIANCE = "compliance"
    """Nobody can, the owner of the account included."""
    GOVERNANCE = "governance"
    """Anyone with the right ``s3:BypassGovernanceRetention`` can; vmkeep never does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRule:
    """The mode and the length of the locks on new blobs. A lock begins when its blob is stored."""

    mode: LockMode
    days: int

    def __post_init__(self) -> None:
        """Refuse a number of days that S3 refuses."""
        if not 0 < self.days <= _MOST_DAYS:
            raise UsageError(f"a lock of {self.days} days: choose 1 to {_MOST_DAYS}")

    @property
    def period(self) -> timedelta:
        """The number of days as a length of time."""
        return timedelta(days=self.days)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobVersion:
    """A version of a blob, or S3's mark that the blob was deleted."""

    id: str
    deleted: bool
    """Whether this is a mark of deletion, which hides older versions and has no content."""
    size: int
    e_tag: str
    """S3's tag of the content. Equal tags mean equal bytes."""
    modified: datetime
    """The time when the version was stored, by the store's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """All versions of one blob, the newest first. The oldest version with content is the one that vmkeep put."""

    key: str
    all: tuple[BlobVersion, ...]

    @property
    def original(self) -> BlobVersion | None:
        """The version that was put first; ``None``: only marks of deletion are left."""
        return next((version for version in reversed(self.all) if not version.deleted), None)

    @property
    def trouble(self) -> str:
        """The cause that hides the original from readers; empty: they see the original, or a copy of it."""
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
        """Return if the store can set locks, and keeps them.

        :raises RepositoryError: it does not; the message names the remedy.
        """

    def now(self) -> datetime:
        """Return the time by the store's clock."""

    def versions(self, prefix: str) -> Iterator[Versions]:
        """Yield all versions of the blobs whose key begins with ``prefix``."""

    def extend(self, key: str, version: BlobVersion, rule: LockRule) -> bool:
        """Lock a version for the rule's full time from now, if less than half of that time is left.

        :returns: whether the lock was extended.
        """

    def bring_back(self, versions: Versions) -> None:
        """Make readers see the original again. Remove the versions that hide it; if they are locked, put a copy."""


def locks_of(store: BlobStore) -> Locks | None:
    """Return the locks of the store below all wrappers; ``None``: it can keep no locks."""
    locks: Locks | None = getattr(backend(store), "locks", None)
    return locks


def hidden_in(store: BlobStore, key: str) -> str:
    """Return ``deleted`` or ``overwritten`` if somebody hid a blob so and the store still has it; else ``''``.

    Use the answer for advice only, because it is empty, too, if the store keeps no versions or does not show them.
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
