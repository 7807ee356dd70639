"""Extends the locks of needed blobs, and makes blobs visible again that a thief has hidden.

A lock ends a fixed time after its blob was put. While restore points need a blob, its lock is set anew whenever less
than half of that time is left. Locks of index segments are not extended, because a merge must be able to delete
segments, and they can be rebuilt from packs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from vmkeep.blobs import BlobStore, LockRule, Locks, Versions, abreast, confirm_lists, locks_of
from vmkeep.errors import RepositoryError
from vmkeep.lateclass import dataclass
from vmkeep.maintenance.plan import marked
from vmkeep.model.job import Progress
from vmkeep.repository import LOCKED_FOLDERS, Repository, is_locked
from vmkeep.repository.folders import INDEX, PACKS
from vmkeep.repository.frames import pack_key
from vmkeep.repository.unlock import KEY

_AT_ONCE = 16
"""Requests in flight at a time: more than one, because each waits for the store's latency."""
_UNVERSIONED = "null"
"""The version id that S3 gives to a blob that was put while the bucket kept no versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockReport:
    """The outcome of extending the locks."""

    extended: int
    kept: int
    """Blobs whose lock still had half of its time left, or more."""
    missing: tuple[str, ...]
    """Keys of blobs that are needed and missing; a check tells more."""
    hidden: tuple[str, ...]
    """Keys of blobs that somebody else deleted or overwrote, see :func:`find_hidden`. Their originals were locked all
    the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """A blob that readers do not see in its original form."""

    key: str
    what: str
    """``deleted`` or ``overwritten``."""

    def __str__(self) -> str:
        """Return one line for people."""
        return f"{self.key}: was {self.what} by somebody else; the original is there"


def needed_packs(repository: Repository) -> frozenset[str]:
    """Return the keys of all packs that hold something for a restore point or for a backup that is about to be sealed.

    :raises CorruptError: something on the way cannot be read, so the packs cannot be told.
    """
    confirm_lists(repository.blobs)  # the lock of a pack would end whose point is missing in a list
    condemned = frozenset[bytes]().union(*(plan.packs for plan in repository.sweep_records.plans()))
    return frozenset(pack_key(pack) for pack in marked(repository, condemned).live())


def extend_locks(
    repository: Repository,
    packs: Iterable[str],
    *,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
) -> LockReport:
    """Lock every needed blob for the full time again, if less than half of its time is left.

    :param packs: keys of the needed packs. Manifests, key slots and the descriptor are always needed.
    :raises RepositoryError: this repository has no locks.
    """
    rule, locks = _rule_of(repository)
    missing = set(packs)
    wanted = frozenset(missing)
    now = locks.now()
    report = {"extended": 0, "kept": 0}
    hidden: list[str] = []

    def extend(found: Versions) -> bool:
        original = found.original
        young = original is not None and now - original.modified < rule.period / 2
        return original is not None and not young and locks.extend(found.key, original, rule)

    def needed() -> Iterator[Versions]:
        for found in _all_versions(locks):
            if found.original is not None:
                missing.discard(found.key)
            if found.trouble:
                hidden.append(found.key)  # no walk can read a hidden pack, so count it as needed
            elif found.key.startswith(PACKS) and found.key not in wanted:
                continue
            if not found.key.startswith(INDEX):
                yield found

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for batch in _batches(needed()):
            for done in threads.map(extend, batch):
                report["extended" if done else "kept"] += 1
            total = sum(report.values())
            on_progress(Progress(phase="locks", bytes_done=total, bytes_total=max(total, len(wanted))))
    return LockReport(**report, missing=tuple(sorted(missing)), hidden=tuple(hidden))


def find_hidden(store: BlobStore) -> list[Hidden]:
    """Return the blobs that somebody deleted or overwrote and whose originals the store still has.

    Needs no key of the repository.

    :raises RepositoryError: there is no repository, or its bucket keeps no versions, which alone could tell.
    """
    return [Hidden(key=found.key, what=found.trouble) for found in _troubled(store, _locks_of(store))]


def bring_back(store: BlobStore) -> list[Hidden]:
    """Make readers see the originals again of all blobs that :func:`find_hidden` finds, and return these blobs.

    Removes only the version or delete marker on top. If that one is locked itself, a copy of the original is put above
    it.

    :raises RepositoryError: as in :func:`find_hidden`.
    """
    locks = _locks_of(store)
    troubled = _troubled(store, locks)
    deque(abreast(store, locks.bring_back, troubled), maxlen=0)
    return [Hidden(key=found.key, what=found.trouble) for found in troubled]


def _troubled(store: BlobStore, locks: Locks) -> list[Versions]:
    troubled: list[Versions] = []
    has_descriptor = has_versions = False
    for found in _all_versions(locks):
        has_descriptor |= found.key == KEY
        has_versions |= any(version.id != _UNVERSIONED for version in found.all)
        if found.trouble:
            troubled.append(found)
    if not has_descriptor and not troubled:
        raise RepositoryError(
            f"{store.location}: there is no {KEY}, in no version: nothing to look at; check the location"
        )
    if not has_versions:
        raise RepositoryError(
            f"{store.location}: the bucket keeps no versions, so nothing tells what was deleted or overwritten: "
            "'vmkeep repo check' tells what is missing"
        )
    return troubled


def _all_versions(locks: Locks) -> Iterator[Versions]:
    for prefix in (*LOCKED_FOLDERS, KEY):
        yield from (found for found in locks.versions(prefix) if is_locked(found.key))


def _batches(found: Iterator[Versions]) -> Iterator[list[Versions]]:
    batch = []
    for each in found:
        batch.append(each)
        if len(batch) == _AT_ONCE * 8:
            yield batch
            batch = []
    yield batch


def _locks_of(store: BlobStore) -> Locks:
    if (locks := locks_of(store)) is None:
        raise RepositoryError(f"{store.location}: only a bucket of S3 keeps versions and locks")
    return locks


def _rule_of(repository: Repository) -> tuple[LockRule, Locks]:
    rule = repository.descriptor.lock
    if rule is None:
        raise RepositoryError(f"{repository.location}: has no locks; they are chosen at 'vmkeep repo init --lock'")
    return rule, _locks_of(repository.blobs)
