"""Locks objects when they are put, and makes hidden originals visible again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime

from vmkeep.blobs.locking import BlobVersion, LockRule, Versions
from vmkeep.blobs.s3.versions import S3Versions
from vmkeep.errors import LockedError


class S3Locks:
    """S3's implementation of :class:`~vmkeep.blobs.locking.Locks`. It locks nothing before :meth:`begin`."""

    def __init__(self, versions: S3Versions) -> None:
        self._versions = versions
        self._rule: LockRule | None = None
        self._covers: Callable[[str], bool] = lambda _key: False

    def begin(self, rule: LockRule, covers: Callable[[str], bool]) -> None:
        """Lock each blob that is put from now on, if ``covers`` accepts its key."""
        self._rule, self._covers = rule, covers

    def cover(self, key: str) -> bool:
        """Return whether a blob with a key is to be locked."""
        return self._rule is not None and self._covers(key)

    def secure(self, key: str, version: str | None) -> None:
        """Lock a blob that was just put.

        :param version: its version; ``None``: the blob was there already, maybe from a try that died before the lock.
        """
        assert self._rule is not None
        if version is not None:
            self._versions.retain(key, version, self._rule.mode, self.now() + self._rule.period)
        elif (found := self._versions.of(key)) is not None and found.original is not None:
            self.extend(key, found.original, self._rule)

    def check(self) -> None:
        """Return if the bucket can set locks, and keeps them."""
        self._versions.check()

    def now(self) -> datetime:
        """Return the time by the server's clock."""
        return self._versions.now()

    def versions(self, prefix: str) -> Iterator[Versions]:
        """Yield all versions of the objects whose key begins with ``prefix``."""
        return self._versions.list(prefix)

    def extend(self, key: str, version: BlobVersion, rule: LockRule) -> bool:
        """Lock a version for the rule's full time from now, if less than half of that time is left."""
        now = self.now()
        until = self._versions.locked_until(key, version.id)
        if until is not None and until - now >= rule.period / 2:
            return False
        self._versions.retain(key, version.id, rule.mode, now + rule.period)
        return True

    def bring_back(self, versions: Versions) -> None:
        """Make readers see the original again. Remove the versions that hide it; if they are locked, put a copy."""
        original = versions.original
        if original is None:
            return
        for version in versions.all:
            if version.id != original.id:
                with suppress(LockedError):
                    self._versions.remove(versions.key, version.id)
        found = self._versions.of(versions.key)
        if found is not None and found.trouble:
            self._versions.copy_on_top(versions.key, original)
