"""Locks objects as they are put, and makes hidden originals visible again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime

from vmkeep.blobs.locking import BlobVersion, LockRule, Versions
from vmkeep.blobs.s3.versions import S3Versions
from vmkeep.errors import LockedError


class S3Locks:
    """See :class:`~vmkeep.blobs.locking.Locks`. Locks nothing until it is told to begin."""

    def __init__(self, versions: S3Versions) -> None:
        self._versions = versions
        self._rule: LockRule | None = None
        self._covers: Callable[[str], bool] = lambda _key: False

    def begin(self, rule: LockRule, covers: Callable[[str], bool]) -> None:
        """Lock each blob that is put from now on, if ``covers`` accepts its key."""
        self._rule, self._covers = rule, covers

    def cover(self, key: str) -> bool:
        """Return whether a blob under this key is to be locked."""
        return self._rule is not None and self._covers(key)

    def secure(self, key: str, version: str | None) -> None:
        """Lock what was just put.

        :param version: its version; ``None``: it was there already, maybe from a try that came no further.
        """
        assert self._rule is not None
        if version is not None:
            self._versions.retain(key, version, self._rule.mode, self.now() + self._rule.period)
        elif (found := self._versions.of(key)) is not None and found.original is not None:
            self.extend(key, found.original, self._rule)

    def check(self) -> None:
        """Prove that locks can be set here and hold."""
        self._versions.check()

    def now(self) -> datetime:
        """Return the time by the server's clock."""
        return self._versions.now()

    def versions(self, prefix: str) -> Iterator[Versions]:
        """Yield all versions of the objects whose key begins so."""
        return self._versions.list(prefix)

    def extend(self, key: str, version: BlobVersion, rule: LockRule) -> bool:
        """Lock a version for the rule's full time from now, if less than half of that is left; never for less."""
        now = self.now()
        until = self._versions.locked_until(key, version.id)
        if until is not None and until - now >= rule.period / 2:
            return False
        self._versions.retain(key, version.id, rule.mode, now + rule.period)
        return True

    def bring_back(self, versions: Versions) -> None:
        """Make readers see the original again: remove what hides it, or where that is locked, put a copy on top."""
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
