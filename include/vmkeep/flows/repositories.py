"""Creates, opens, counts and checks repositories.

The other actions take an open :class:`Repository`. A command or operator only passes it on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from pathlib import Path

from vmkeep.blobs import LockMode, LockRule, hold_reserve
from vmkeep.blobs import change_rate as change_store_rate
from vmkeep.blobs.wrappers import parse_rates
from vmkeep.clock import now
from vmkeep.lateclass import dataclass
from vmkeep.model.job import Progress
from vmkeep.repository import (
    Finding,
    Repository,
    RepositoryStats,
    create_encrypted_repository,
    create_repository,
    open_repository,
    open_site_repository,
    takes_passphrase,
)
from vmkeep.repository.checks import Slice, parse_slice
from vmkeep.repository.index import default_cache

__all__ = [
    "LOCK_MODES", "Made", "Repository", "Slice", "cache_folder", "change_rate", "check", "choose_slice", "create",
    "open_repository", "open_site_repository", "require_rate", "stats", "takes_passphrase",
]  # fmt: skip

LOCK_MODES = tuple(mode.value for mode in LockMode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A new repository."""

    id: str
    location: str
    block_size: int
    encrypted: bool
    recovery_key: str | None = field(default=None, repr=False)
    """Opens the repository like a passphrase. It is stored nowhere, so show it once."""


def create(
    location: str,
    *,
    block_size: int,
    compression: str,
    encrypt: bool = False,
    passphrase: str | None = None,
    kms_key: str | None = None,
    lock: tuple[str, int] | None = None,
) -> Made:
    """Create a repository.

    :param block_size: bytes.
    :param passphrase: opens an encrypted repository; ``None``: the key of a key service opens it.
    :param lock: mode and days of the object locks that the store sets; ``None``: no locks.
    """
    rule = LockRule(mode=LockMode(lock[0]), days=lock[1]) if lock else None
    if not encrypt:
        made = create_repository(location, block_size=block_size, compression=compression, lock=rule)
        hold_reserve(made.blobs)
        return Made(id=made.id, location=made.location, block_size=made.block_size, encrypted=False)
    created = create_encrypted_repository(
        location,
        passphrase=passphrase,
        kms_key=kms_key,
        block_size=block_size,
        compression=compression,
        lock=rule,
    )
    made = created.repository
    hold_reserve(made.blobs)
    return Made(
        id=made.id,
        location=made.location,
        block_size=made.block_size,
        encrypted=True,
        recovery_key=created.recovery_key,
    )


def stats(repository: Repository) -> RepositoryStats:
    """Count points, packs and bytes."""
    return repository.stats()


def choose_slice(text: str) -> Slice:
    """Return the slice that a text names: ``3/30``, or ``today/30``.

    :raises UsageError: the text is neither.
    """
    return parse_slice(text, today=now())


def check(
    repository: Repository, *, read_data: bool, part: Slice | None, on_progress: Callable[[Progress], None]
) -> list[Finding]:
    """Check the structure of the repository, and the data of one slice or of all packs. Return the findings."""
    return repository.check(read_data=read_data, part=part, on_progress=on_progress)


def cache_folder() -> Path | None:
    """Return the folder for caches of the index; ``None``: this user has none."""
    return default_cache()


def change_rate(location: str, limit_rate: str | None) -> None:
    """Let all work of this process at a repository keep to another rate limit from now on. Any thread may call it.

    :param location: as it was given when the repository was opened.
    :param limit_rate: bytes per second, maybe by time of day, e.g. ``50MiB``; ``None``: there is no limit.
    :raises UsageError: the text is no rate limit. Then nothing has changed.
    """
    change_store_rate(location, limit_rate)


def require_rate(text: str) -> None:
    """Return if a text is a rate limit.

    :raises UsageError: the text is no rate limit.
    """
    parse_rates(text)
